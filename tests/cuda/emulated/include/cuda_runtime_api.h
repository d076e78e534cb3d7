// The CUDA runtime as far as csrc/ops uses it, with the values that the CUDA documentation gives. Its answers are in
// ../runtime.cpp; errors and the rest are the emulator's.
#pragma once
#include "cuda_runtime.h"

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxRegistersPerMultiprocessor = 82,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMaxBlocksPerMultiprocessor = 106,
};

inline constexpr cudaError_t cudaErrorNoKernelImageForDevice = cudaError_t(209);
inline constexpr cudaError_t cudaErrorUnsupportedPtxVersion = cudaError_t(222);

struct cudaFuncAttributes {
  int ptxVersion;
};

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void (*kernel)());
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int device);
const char* cudaGetErrorName(cudaError_t);
