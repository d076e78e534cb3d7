// The host side of a launch: one function per dtype, one way to enqueue a kernel.
#pragma once

#include <utility>

#include "types.cuh"

namespace lite_rtse::cuda {

// Calls f.operator()<T>() with the storage type of `dtype`.
template <class F>
auto with_storage_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return f.template operator()<double>();
    case DType::f32: return f.template operator()<float>();
    case DType::f16: return f.template operator()<__half>();
    case DType::bf16: break;
  }
  return f.template operator()<__nv_bfloat16>();
}

// The shared memory that a block has without opting in to more: 48 KB, minus the most that the kernel's arrays of fixed
// size may take.
inline constexpr int64_t kSharedWithoutOptIn = (48 - 16) << 10;

// Enqueues kernel(args...). Nothing is enqueued for a grid without blocks. `together`: the kernel's blocks wait for one
// another, so the launch fails if they cannot all be on the device at the same time. Of a grid of clusters, the blocks
// of each cluster are.
template <class... Parameters, class... Args>
cudaError_t enqueue_blocks(bool together, const Geometry& g, cudaStream_t stream, void (*kernel)(Parameters...),
                           Args&&... args) {
  if (g.blocks == 0) return cudaSuccess;
  if (g.blocks > kMaxBlocks) return cudaErrorInvalidConfiguration;
  if (g.shared_bytes > kSharedWithoutOptIn) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(g.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attribute{};
  if (g.cluster > 1) {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = unsigned(g.cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  } else {
    attribute.id = cudaLaunchAttributeCooperative, attribute.val.cooperative = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(unsigned(g.blocks), 1, 1);
  config.blockDim = dim3(unsigned(g.threads), 1, 1);
  config.dynamicSmemBytes = size_t(g.shared_bytes);
  config.stream = stream;
  config.attrs = &attribute, config.numAttrs = together || g.cluster > 1 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...);
}

template <class... Parameters, class... Args>
cudaError_t enqueue(const Geometry& g, cudaStream_t stream, void (*kernel)(Parameters...), Args&&... args) {
  return enqueue_blocks(false, g, stream, kernel, std::forward<Args>(args)...);
}

// Runs steps that each return an error, up to the first that fails.
template <class... Steps>
cudaError_t in_order(Steps&&... steps) {
  cudaError_t error = cudaSuccess;
  static_cast<void>((((error = steps()) == cudaSuccess) && ...));
  return error;
}

}  // namespace lite_rtse::cuda
