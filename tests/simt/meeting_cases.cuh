// Blocks that wait for one another by a counter, with defects that can be planted. A part of cases.cu.
#pragma once

#include <cuda/atomic>

namespace cases {

constexpr int kMeetingThreads = 64, kMeetingBlocks = 3, kMeetingSteps = 4;
constexpr int kMeetingSize = kMeetingThreads * kMeetingBlocks;

// Row t + 1 of y is row t of the next block, plus one.
template <Defect kDefect>
__global__ void meetings(float* y, unsigned* arrived) {
  constexpr auto kArrive = kDefect == relaxed_arrive ? cuda::memory_order_relaxed : cuda::memory_order_release;
  constexpr auto kWait = kDefect == relaxed_wait ? cuda::memory_order_relaxed : cuda::memory_order_acquire;
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = float(i);
  for (int step = 0; step < kMeetingSteps; ++step) {
    if constexpr (kDefect != missing_barrier) __syncthreads();
    if (threadIdx.x == 0) {
      cuda::atomic_ref<unsigned, cuda::thread_scope_device> counter(*arrived);
      if (kDefect != missing_arrive || blockIdx.x != 1) counter.fetch_add(1, kArrive);
      const unsigned wanted = gridDim.x * unsigned(step + 1) - (kDefect == wrong_count);
      while (kDefect != missing_wait && counter.load(kWait) < wanted) {
      }
    }
    __syncthreads();
    const float* row = y + (kDefect == stale_read && step > 0 ? step - 1 : step) * kMeetingSize;
    y[(step + 1) * kMeetingSize + i] = row[(i + kMeetingThreads) % kMeetingSize] + 1;
  }
}

template <Defect kDefect>
std::string run_meetings() {
  std::vector<float> y(kMeetingSize * (kMeetingSteps + 1)), expected(y.size());
  std::vector<unsigned> arrived(1);
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t step = i / kMeetingSize;
    expected[i] = float((i + step * kMeetingThreads) % kMeetingSize + step);
  }
  Memory memory;
  auto config = geometry(kDefect == too_many_blocks ? 83 : kMeetingBlocks, kMeetingThreads);
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeCooperative, together.val.cooperative = 1;
  config.attrs = &together, config.numAttrs = kDefect == one_by_one ? 0 : 1;
  float* const y_out = memory.output(y);
  unsigned* const counter = memory.output(arrived);
  cudaMemsetAsync(counter, 0, sizeof(unsigned));
  cudaLaunchKernelEx(&config, meetings<kDefect>, y_out, counter);
  const std::string fault = memory.finish();
  return fault.empty() ? compare(y, expected) : fault;
}

}  // namespace cases
