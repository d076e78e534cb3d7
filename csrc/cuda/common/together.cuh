// Blocks that wait for one another: through a counter in global memory, or at the barrier of their cluster.
//
// Those of a counter must all be on the device at the same time: enqueue_blocks launches them `together`. Those of a
// cluster are, whatever else is on the device.
#pragma once

#include <cuda/atomic>

namespace lite_rtse::cuda {

using Arrivals = unsigned long long;

// A poll takes about a microsecond. After seconds, a block that is waited for will never come: it was lost by an error
// of this library. The kernel then ends with an error, which PyTorch reports, and does not hang.
inline constexpr int kMostPolls = 1 << 24;

// Returns when `wanted` blocks have arrived, counted from the launch on. What all threads of these blocks wrote to
// global memory before can then be read, but not through the read-only cache.
__device__ __forceinline__ void arrive_and_wait(Arrivals* arrived, Arrivals wanted) {
  __syncthreads();
  if (threadIdx.x == 0) {
    ::cuda::atomic_ref<Arrivals, ::cuda::thread_scope_device> counter(*arrived);
    counter.fetch_add(1, ::cuda::memory_order_release);
    int polls = 0;
    while (counter.load(::cuda::memory_order_acquire) < wanted)
      if (++polls == kMostPolls) __trap();
  }
  __syncthreads();
}

// Devices before compute capability 9.0 have no clusters. A later device can run code that was compiled for them, as
// PTX. No plan for either has any cluster, so these functions are never called.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
__device__ __forceinline__ void cluster_barrier() { __trap(); }
template <class T>
__device__ __forceinline__ T* of_cluster_block(T* p, int) {
  return p;
}
#else
// What all threads of the cluster wrote before, to global memory or to the shared memory of any of its blocks, can then
// be read.
__device__ __forceinline__ void cluster_barrier() {
  __cluster_barrier_arrive();
  __cluster_barrier_wait();
}
// The same place in the shared memory of another block of the cluster. That block must have begun, and must not end
// before the access does.
template <class T>
__device__ __forceinline__ T* of_cluster_block(T* p, int rank) {
  return static_cast<T*>(__cluster_map_shared_rank(p, unsigned(rank)));
}
#endif

}  // namespace lite_rtse::cuda
