// Kernels that use what the emulator offers, each with defects that can be planted into it, for test_emulator.py.
//
// A case runs a kernel, correct or with one defect, and compares what it computes with plain loops.
#include <cuda_fp16.h>

#include <functional>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "defects.hpp"
#include "guarded.hpp"

namespace cases {

SIMT_DEFINE_DYNAMIC_SHARED(dynamic_shared_bytes)

using enum Defect;

constexpr int kTaps = 5, kTile = 64, kTiles = 6, kFull = kTile * kTiles - 3;

// y[i] = Σ_j w[j] x[i + j - 2], x = 0 outside: a block marches over tiles, each loaded with its halo.
template <Defect kDefect>
__global__ void __launch_bounds__(kTile)
    weighted_sum(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, int n) {
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  float* tile = reinterpret_cast<float*>(dynamic_shared_bytes);
  __shared__ float weights[kTaps];
  const int thread = int(threadIdx.x), taps = kDefect == static_shared_past_end ? kTaps + 1 : kTaps;
  if (thread < taps && kDefect != uninitialised_shared) weights[thread] = w[thread % kTaps];
  for (int first = 0; first < n; first += kTile) {
    const int wide = kTile + kTaps - 1 + (kDefect == shared_write_past_end);
    for (int i = thread; i < wide; i += kTile) {
      const int at = first + i - kTaps / 2, end = n + (kDefect == global_read_past_end);
      if constexpr (kDefect == missing_mask) {
        tile[i] = x[at < 0 ? 0 : at < end ? at : end - 1];
      } else {
        tile[i] = at >= 0 && at < end ? x[at] : 0.0f;
      }
    }
    if constexpr (kDefect != missing_barrier) __syncthreads();
    float sum = 0;
    for (int j = 0; j < kTaps; ++j) sum += weights[j] * tile[thread + j + (kDefect == shared_read_past_end)];
    const int at = first + thread;
    if (at < n + (kDefect == global_write_past_end)) y[at - (kDefect == global_write_in_front)] = sum;
    if constexpr (kDefect == input_written)
      if (at < n) const_cast<float*>(x)[at] = sum;
    if constexpr (kDefect != missing_write_after_read_barrier) __syncthreads();
  }
}

// y[i] = x[i] + x of the neighbouring lane, through shared memory; then each warp's total at its lane 0, by shuffles.
template <Defect kDefect>
__global__ void neighbours(const float* x, float* y, float* totals) {
  __shared__ float exchange[256];
  const int thread = int(threadIdx.x), lane = thread % warpSize;
  exchange[thread] = x[thread];
  if constexpr (kDefect != missing_syncwarp) __syncwarp();
  const float sum = x[thread] + exchange[thread ^ 1];
  y[thread] = sum;
  if (kDefect == lane_exited && lane == 7) return;
  unsigned mask = 0xffffffffu;
  if constexpr (kDefect == caller_not_in_mask) mask = 0x7fffffffu;
  float total = x[thread];
  if (kDefect != missing_lanes || lane < 16) {
    for (int offset = 16; offset > 0; offset /= 2) total += __shfl_down_sync(mask, total, unsigned(offset));
  } else {
    __syncthreads();
  }
  if constexpr (kDefect == different_operations) {
    if (lane < 16) __syncwarp();
    __ballot_sync(mask, 1);
  }
  if (lane == 0) totals[thread / warpSize] = __shfl_sync(1u, total, 0);
}

// How often each of 16 values occurs, by all blocks together.
template <Defect kDefect>
__global__ void histogram(const int* x, int* counts, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  if constexpr (kDefect == not_atomic) {
    ++counts[x[i]];
  } else {
    atomicAdd(&counts[x[i]], 1);
  }
}

// Every block writes its own row; with the defect also what the next block writes, and the same.
template <Defect kDefect>
__global__ void rows(float* y, int columns) {
  float* row = y + blockIdx.x * unsigned(columns);
  const int end = columns + (kDefect == two_blocks_one_element && blockIdx.x + 1 < gridDim.x);
  for (int i = int(threadIdx.x); i < end; i += int(blockDim.x)) row[i] = float(i % columns);
}

// Four elements at a time, from the first aligned address on.
template <Defect kDefect>
__global__ void vectors(const float* x, float* y) {
  const int i = int(threadIdx.x);
  const int shift = kDefect == misaligned_vector && 4 * i + 4 < 4 * warpSize;
  const float4 v = *reinterpret_cast<const float4*>(x + 4 * i + shift);
  *reinterpret_cast<float4*>(y + 4 * i) = make_float4(2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w);
}

template <Defect kDefect>
__global__ void misuse(float* y, int large) {
  const int thread = int(threadIdx.x);
  if constexpr (kDefect == divergent_barrier) {
    if (thread < 20) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else if constexpr (kDefect == barrier_after_exit) {
    if (thread == 3) return;
    __syncthreads();
  } else if constexpr (kDefect == different_barriers) {
    if (thread < 32) {
      __barrier_sync_count(1, blockDim.x);
    } else {
      __barrier_sync_count(2, blockDim.x);
    }
  } else if constexpr (kDefect == barrier_of_a_part) {
    if (thread < 32) __barrier_sync_count(1, 32);
  } else if constexpr (kDefect == deadlock) {
    if (thread < 20) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  } else if constexpr (kDefect == trap) {
    if (thread == 5) __trap();
  } else if constexpr (kDefect == index_overflow) {
    large *= large + thread;
  }
  __syncthreads();
  y[thread] = float(thread + (large > 0 ? 0 : 1));
}

// ---- what runs them ------------------------------------------------------------------------------------------------

template <class T>
std::vector<T> numbers(int n) {
  std::vector<T> v(size_t(n), T(0));
  for (int i = 0; i < n; ++i) v[size_t(i)] = T((i * 37 + 11) % 16);
  return v;
}

// Device memory for one kernel: inputs copied in, outputs compared with what is expected.
class Memory {
 public:
  template <class T>
  const T* input(const std::vector<T>& values) {
    return static_cast<const T*>(add("input", values, simt::Kind::input));
  }
  template <class T>
  T* output(std::vector<T>& values) {
    return static_cast<T*>(add("output", values, simt::Kind::output));
  }
  // Ends the case: what the emulator reported, misuse of a buffer, or nothing. Fills the outputs.
  std::string finish() {
    std::string fault = simt::report();
    for (auto& buffer : buffers_)
      if (const std::string misuse = buffer.check(); fault.empty()) fault = misuse;
    if (fault.empty())
      for (auto& buffer : buffers_) buffer.copy_out();
    return fault;
  }

 private:
  template <class T>
  void* add(const char* name, const std::vector<T>& values, simt::Kind kind) {
    const simt::Buffer buffer{name, const_cast<T*>(values.data()), int64_t(values.size() * sizeof(T)), kind};
    buffers_.emplace_back(buffer, 0, true);
    return buffers_.back().data();
  }
  std::vector<simt::GuardedBuffer> buffers_;
};

template <class T>
std::string compare(const std::vector<T>& found, const std::vector<T>& expected) {
  for (size_t i = 0; i < found.size(); ++i)
    if (!(found[i] == expected[i])) return "wrong value at " + std::to_string(i);
  return "";
}

cudaLaunchConfig_t geometry(dim3 grid, dim3 block, size_t shared_bytes = 0) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes;
  return config;
}

template <Defect kDefect>
std::string run_weighted_sum() {
  const auto x = numbers<float>(kFull), w = numbers<float>(kTaps);
  std::vector<float> y(kFull), expected(kFull, 0.0f);
  for (int i = 0; i < kFull; ++i)
    for (int j = 0; j < kTaps; ++j)
      if (const int at = i + j - kTaps / 2; at >= 0 && at < kFull) expected[size_t(i)] += w[size_t(j)] * x[size_t(at)];
  Memory memory;
  const auto config = geometry(1, kTile, (kTile + kTaps - 1) * sizeof(float));
  const float *x_in = memory.input(x), *w_in = memory.input(w);
  cudaLaunchKernelEx(&config, weighted_sum<kDefect>, x_in, w_in, memory.output(y), kFull);
  const std::string fault = memory.finish();
  return fault.empty() ? compare(y, expected) : fault;
}

template <Defect kDefect>
std::string run_neighbours() {
  constexpr int kThreads = 128;
  const auto x = numbers<float>(kThreads);
  std::vector<float> y(kThreads), totals(kThreads / 32), sums(kThreads), expected(kThreads / 32, 0.0f);
  for (size_t i = 0; i < kThreads; ++i) sums[i] = x[i] + x[i ^ 1], expected[i / 32] += x[i];
  Memory memory;
  const auto config = geometry(1, kThreads);
  const float* x_in = memory.input(x);
  float* y_out = memory.output(y);
  cudaLaunchKernelEx(&config, neighbours<kDefect>, x_in, y_out, memory.output(totals));
  const std::string fault = memory.finish(), wrong = compare(y, sums);
  return !fault.empty() ? fault : !wrong.empty() ? wrong : compare(totals, expected);
}

template <Defect kDefect>
std::string run_histogram() {
  constexpr int kCount = 333;
  const auto x = numbers<int>(kCount);
  std::vector<int> counts(16), expected(16, 0);
  for (int value : x) ++expected[size_t(value)];
  Memory memory;
  const auto config = geometry(6, 64);
  const int* x_in = memory.input(x);
  int* counts_out = memory.output(counts);
  cudaMemsetAsync(counts_out, 0, 16 * sizeof(int));
  cudaLaunchKernelEx(&config, histogram<kDefect>, x_in, counts_out, kCount);
  const std::string fault = memory.finish();
  return fault.empty() ? compare(counts, expected) : fault;
}

template <Defect kDefect>
std::string run_rows() {
  constexpr int kRows = 4, kColumns = 50;
  std::vector<float> y(kRows * kColumns), expected(kRows * kColumns);
  for (size_t i = 0; i < y.size(); ++i) expected[i] = float(i % kColumns);
  Memory memory;
  const auto config = geometry(kRows, 32);
  cudaLaunchKernelEx(&config, rows<kDefect>, memory.output(y), kColumns);
  const std::string fault = memory.finish();
  return fault.empty() ? compare(y, expected) : fault;
}

template <Defect kDefect>
std::string run_vectors() {
  constexpr int kThreads = 32;
  const auto x = numbers<float>(4 * kThreads);
  std::vector<float> y(4 * kThreads), expected(4 * kThreads);
  for (size_t i = 0; i < y.size(); ++i) expected[i] = 2 * x[i];
  Memory memory;
  const auto config = geometry(1, kThreads);
  const float* x_in = memory.input(x);
  cudaLaunchKernelEx(&config, vectors<kDefect>, x_in, memory.output(y));
  const std::string fault = memory.finish();
  return fault.empty() ? compare(y, expected) : fault;
}

template <Defect kDefect>
std::string run_misuse() {
  constexpr int kThreads = 64;
  std::vector<float> y(kThreads), expected(kThreads);
  std::iota(expected.begin(), expected.end(), 0.0f);
  Memory memory;
  const auto config = geometry(1, kThreads);
  cudaLaunchKernelEx(&config, misuse<kDefect>, memory.output(y), 1 << 20);
  const std::string fault = memory.finish();
  return fault.empty() ? compare(y, expected) : fault;
}

}  // namespace cases

#include "cluster_cases.cuh"
#include "meeting_cases.cuh"
#include "mma_cases.cuh"

namespace cases {

const std::map<std::string, std::function<std::string()>>& all() {
#define CASE(kernel, defect)                          \
  {                                                   \
    #kernel "/" #defect, run_##kernel<Defect::defect> \
  }
  static const std::map<std::string, std::function<std::string()>> cases = {
      CASE(weighted_sum, none),
      CASE(weighted_sum, missing_barrier),
      CASE(weighted_sum, missing_write_after_read_barrier),
      CASE(weighted_sum, shared_read_past_end),
      CASE(weighted_sum, shared_write_past_end),
      CASE(weighted_sum, static_shared_past_end),
      CASE(weighted_sum, global_read_past_end),
      CASE(weighted_sum, global_write_past_end),
      CASE(weighted_sum, global_write_in_front),
      CASE(weighted_sum, input_written),
      CASE(weighted_sum, missing_mask),
      CASE(weighted_sum, uninitialised_shared),
      CASE(neighbours, none),
      CASE(neighbours, missing_syncwarp),
      CASE(neighbours, missing_lanes),
      CASE(neighbours, lane_exited),
      CASE(neighbours, caller_not_in_mask),
      CASE(neighbours, different_operations),
      CASE(histogram, none),
      CASE(histogram, not_atomic),
      CASE(rows, none),
      CASE(rows, two_blocks_one_element),
      CASE(vectors, none),
      CASE(vectors, misaligned_vector),
      CASE(misuse, none),
      CASE(misuse, divergent_barrier),
      CASE(misuse, barrier_after_exit),
      CASE(misuse, different_barriers),
      CASE(misuse, barrier_of_a_part),
      CASE(misuse, deadlock),
      CASE(misuse, trap),
      CASE(misuse, index_overflow),
      CASE(meetings, none),
      CASE(meetings, missing_arrive),
      CASE(meetings, missing_wait),
      CASE(meetings, missing_barrier),
      CASE(meetings, wrong_count),
      CASE(meetings, stale_read),
      CASE(meetings, relaxed_arrive),
      CASE(meetings, relaxed_wait),
      CASE(meetings, too_many_blocks),
      CASE(meetings, one_by_one),
      CASE(ring, none),
      CASE(ring, missing_arrive),
      CASE(ring, missing_wait),
      CASE(ring, missing_barrier),
      CASE(ring, relaxed_arrive),
      CASE(ring, wrong_rank),
      CASE(ring, stale_read),
      CASE(ring, early_access),
      CASE(ring, late_access),
      CASE(ring, late_write),
      CASE(ring, too_many_blocks),
      CASE(ring, wrong_count),
      CASE(ring, one_by_one),
      CASE(products, none),
      CASE(products, missing_lanes),
      CASE(products, lane_exited),
      CASE(products, different_operations),
      CASE(products, wrong_fragment),
      CASE(products, partial_warp),
  };
#undef CASE
  return cases;
}

}  // namespace cases

// Runs a case: its name, and the seeds of the schedules, from the first up to before the last. Returns what went wrong
// with the first seed that showed something, or an empty text.
extern "C" const char* simt_case(const char* text) {
  static std::string fault;
  std::istringstream words(text);
  std::string name;
  uint64_t first = 0, last = 0;
  words >> name >> first >> last;
  fault.clear();
  for (uint64_t seed = first; seed < last && fault.empty(); ++seed) {
    simt::configure({.cluster_blocks = 8}, {.seed = seed});
    fault = cases::all().at(name)();
  }
  return fault.c_str();
}
