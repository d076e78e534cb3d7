// Kernels with known faults, and without, for the tests of what looks for them. They compute nothing.
//
// The launchers are those of causal_dwconv2d, which the emulator knows how to call: forward runs the kernels that only
// use shared memory, backward those that move x to dx. The others are there to be compiled.
#include "../../../csrc/cuda/common/launch.cuh"

namespace lite_rtse::cuda {

inline constexpr int kThreads = 32;

// A lane's word is Stride words from the next lane's: gcd(Stride, 32) lanes want the same bank.
template <int Stride>
__global__ void __launch_bounds__(kThreads) words(float* y) {
  float* const shared = dynamic_shared<float>();
  shared[threadIdx.x * Stride] = 1;
  __syncthreads();
  y[threadIdx.x] = shared[threadIdx.x * Stride];
}

// 16 bytes a lane, Sharing neighbouring lanes the same.
template <int Sharing>
__global__ void __launch_bounds__(kThreads) quads(float* y) {
  float* const shared = dynamic_shared<float>();
  for (int i = 0; i < 4; ++i) shared[threadIdx.x + i * kThreads] = 1;
  __syncthreads();
  const Pack<float, 4> read = load_pack<4>(shared + threadIdx.x / Sharing * 4);
  y[threadIdx.x] = read.at[0] + read.at[1] + read.at[2] + read.at[3];
}

// Moves x to dx, 32 numbers a block, one number at a time.
__global__ void __launch_bounds__(kThreads) narrow(const float* __restrict__ x, float* __restrict__ dx) {
  dx[blockIdx.x * kThreads + threadIdx.x] = x[blockIdx.x * kThreads + threadIdx.x];
}

// The same, four at a time, by a quarter of the threads; and every block reads the weights.
__global__ void __launch_bounds__(kThreads)
    wide(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ dx) {
  if (threadIdx.x >= kThreads / 4) return;
  const int at = blockIdx.x * kThreads + threadIdx.x * 4;
  const float4 read = *reinterpret_cast<const float4*>(x + at);
  const float w = weight[threadIdx.x];
  *reinterpret_cast<float4*>(dx + at) = make_float4(read.x + w, read.y, read.z, read.w);
}

// 96 sums have to be kept, and a thread of a block of 1024 has 64 registers.
__global__ void __launch_bounds__(1024) spilled(const float* __restrict__ x, float* __restrict__ y, int count) {
  float sum[96] = {};
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    const float value = x[i];
#pragma unroll
    for (int j = 0; j < 96; ++j) sum[j] = sum[j] * value + sum[(j + 1) % 96];
  }
#pragma unroll
  for (int j = 0; j < 96; ++j) y[threadIdx.x + j * 1024] = sum[j];
}

// An array at an index that is only known when it runs has to be in memory.
__global__ void indexed(const int* __restrict__ index, float* __restrict__ y) {
  float values[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) values[i] = y[i];
  for (int i = 0; i < index[16]; ++i) values[index[i] & 15] += 1;
#pragma unroll
  for (int i = 0; i < 16; ++i) y[i] = values[i];
}

// 4096 bytes of fixed size.
__global__ void fixed_shared(float* y) {
  __shared__ float kept[1024];
  for (int i = threadIdx.x; i < 1024; i += blockDim.x) kept[i] = y[i];
  __syncthreads();
  for (int i = threadIdx.x; i < 1024; i += blockDim.x) y[i] = kept[1023 - i];
}

// Sums products: Products of them for each number that is read.
template <int Products>
__global__ void sums(const float* __restrict__ x, float* __restrict__ y, int count) {
  float sum[8] = {};
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    const float value = x[i];
#pragma unroll
    for (int j = 0; j < Products; ++j) sum[j % 8] = sum[j % 8] * value + float(j);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) y[i] = sum[i];
}

// Every other warp sums products; in one of 64 turns all shuffle.
__global__ void roles(const float* __restrict__ x, float* __restrict__ y, int count) {
  float sum[8] = {};
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    const float value = x[i];
    if (threadIdx.x / kWarp % 2 == 0) {
#pragma unroll
      for (int j = 0; j < 256; ++j) sum[j % 8] = sum[j % 8] * value + float(j);
    } else {
      y[i] = value;
    }
    if (i % 64 == 63) {
#pragma unroll
      for (int j = 0; j < 32; ++j) sum[j % 8] += __shfl_xor_sync(0xffffffffu, sum[(j + 1) % 8], 1 + j % 31);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) y[threadIdx.x * 8 + i] = sum[i];
}

template __global__ void sums<4>(const float*, float*, int);
template __global__ void sums<256>(const float*, float*, int);

size_t workspace(const CausalDwconv2dArgs&, const Device&) { return 0; }
size_t workspace(const CausalDwconv2dBackwardArgs&, const Device&) { return 0; }

cudaError_t launch(const CausalDwconv2dArgs& a, const Device&, void*, cudaStream_t stream) {
  float* const y = static_cast<float*>(a.y);
  const auto run = [&](void (*kernel)(float*)) { return enqueue({1, kThreads, 4096}, stream, kernel, y); };
  return in_order([&] { return run(words<1>); }, [&] { return run(words<2>); }, [&] { return run(words<8>); },
                  [&] { return run(words<32>); }, [&] { return run(quads<1>); }, [&] { return run(quads<2>); });
}

cudaError_t launch(const CausalDwconv2dBackwardArgs& a, const Device&, void*, cudaStream_t stream) {
  const CausalDwconv2dArgs& f = a.forward;
  const float *x = static_cast<const float*>(f.x), *weight = static_cast<const float*>(f.weight);
  float* const dx = static_cast<float*>(a.dx);
  const Geometry whole{f.batch * f.channels * f.frames * f.bins / kThreads, kThreads, 0};
  return in_order([&] { return enqueue(whole, stream, narrow, x, dx); },
                  [&] { return enqueue(whole, stream, wide, x, weight, dx); });
}

}  // namespace lite_rtse::cuda
