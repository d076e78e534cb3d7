#include "cuda_architectures.h"

#include <cuda_runtime_api.h>

namespace lite_rtse::ops {
namespace {

__global__ void any_kernel() {}

}  // namespace

std::vector<int> cuda_architectures() {
  std::vector<int> found{__CUDA_ARCH_LIST__};  // nvcc's macro, such as 800,900
  for (int& architecture : found) architecture /= 10;
  return found;
}

int cuda_code_architecture() {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, any_kernel) == cudaSuccess) return attributes.ptxVersion;
  cudaGetLastError();  // a launch will raise it, with an explanation
  return 0;
}

}  // namespace lite_rtse::ops
