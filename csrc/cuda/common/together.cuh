// Blocks that wait for one another, through a counter in global memory.
//
// They must all be on the device at the same time: enqueue_blocks launches them `together`.
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

}  // namespace lite_rtse::cuda
