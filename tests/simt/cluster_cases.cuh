// Blocks of a cluster that write to one another's shared memory, with defects that can be planted. A part of cases.cu.
#pragma once

namespace cases {

constexpr int kRingThreads = 64, kRingBlocks = 3, kRingClusters = 2, kRingSteps = 5;
constexpr int kRingSize = kRingThreads * kRingBlocks * kRingClusters;

template <Defect kDefect>
__device__ void meet_cluster(int rank, int step) {
  if (kDefect == relaxed_arrive) {
    __cluster_barrier_arrive_relaxed();
  } else if (kDefect != missing_arrive || rank != 1) {
    __cluster_barrier_arrive();
  }
  if (kDefect != missing_wait || step == 0) __cluster_barrier_wait();
}

// In each step a block writes its numbers, reversed and plus one, to the next block of its cluster. Of two vectors one
// is read while the other is written. At the end it reads the last vector of the next block.
template <Defect kDefect>
__global__ void ring(float* y) {
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  float* const vectors = reinterpret_cast<float*>(dynamic_shared_bytes);
  const int t = int(threadIdx.x), rank = int(__clusterRelativeBlockRank()), i = int(blockIdx.x) * kRingThreads + t;
  const int next = (rank + (kDefect == wrong_rank ? 2 : 1)) % kRingBlocks;
  const auto of_next = [&](int turn) {
    return static_cast<float*>(__cluster_map_shared_rank(vectors + turn * kRingThreads, unsigned(next)));
  };
  vectors[t] = float(i);
  if constexpr (kDefect != early_access) meet_cluster<kDefect>(rank, 0);
  float* const kept = of_next(0);
  for (int step = 0; step < kRingSteps; ++step) {
    const int from = kDefect == stale_read ? 0 : step % 2, to = kDefect == stale_read ? 0 : 1 - from;
    of_next(to)[t] = vectors[from * kRingThreads + kRingThreads - 1 - t] + 1;
    meet_cluster<kDefect>(rank, step + 1);
  }
  y[i] = of_next(kDefect == stale_read ? 0 : kRingSteps % 2)[t];
  if constexpr (kDefect != late_access) meet_cluster<kDefect>(rank, kRingSteps + 1);
  if (kDefect == missing_barrier && rank != 1) meet_cluster<kDefect>(rank, kRingSteps + 2);
  if constexpr (kDefect == late_write) kept[t] = 0;
}

template <Defect kDefect>
std::string run_ring() {
  std::vector<float> y(kRingSize), expected(kRingSize);
  for (int i = 0; i < kRingSize; ++i) {
    // What the next block has in the end began, an odd number of steps before, as many blocks before it.
    const int block = i / kRingThreads % kRingBlocks, t = i % kRingThreads;
    const int source = (block + 1 + kRingBlocks * kRingSteps - kRingSteps) % kRingBlocks;
    const int first = i / (kRingThreads * kRingBlocks) * kRingBlocks + source;
    expected[size_t(i)] = float(first * kRingThreads + kRingThreads - 1 - t + kRingSteps);
  }
  Memory memory;
  auto config = geometry(kRingBlocks * kRingClusters, kRingThreads, 2 * kRingThreads * sizeof(float));
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = kDefect == too_many_blocks ? 16 : kDefect == wrong_count ? 4 : kRingBlocks;
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  config.attrs = &cluster, config.numAttrs = kDefect == one_by_one ? 0 : 1;
  cudaLaunchKernelEx(&config, ring<kDefect>, memory.output(y));
  const std::string fault = memory.finish();
  return fault.empty() ? compare(y, expected) : fault;
}

}  // namespace cases
