// A launch that follows PyTorch's rules: on the tensors' device, on its current stream, with memory of its allocator.
//
// Nothing in this file synchronizes, so a launch can be captured in a CUDA graph.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>

#include <cstddef>
#include <string>

#include "../cuda/api.h"

namespace lite_rtse::ops {

// The compute capabilities that this build's kernels were compiled for: "8.0, 9.0".
std::string cuda_architectures_text();

// The limits of the current device, whose index this is.
cuda::Device device_limits(int index);

// Makes the device of `x` the current device during the lifetime of this object.
class CudaLaunch {
 public:
  CudaLaunch(const char* name, const torch::stable::Tensor& x);

  const cuda::Device& device() const { return device_; }
  cudaStream_t stream() const { return stream_; }

  // Scratch memory, aligned to 512 bytes. It may be freed as soon as the kernels are enqueued: PyTorch reuses memory
  // only on the stream that it was allocated on.
  torch::stable::Tensor scratch(size_t bytes) const;

  // Raises the error of a failed launch, with the operator's name, the device and a remedy.
  void check(cudaError_t error) const;

 private:
  const char* name_;
  const torch::stable::Tensor& x_;
  torch::stable::accelerator::DeviceGuard guard_;
  cuda::Device device_{};
  cudaStream_t stream_ = nullptr;
};

template <class Arguments>
void enqueue(const char* name, const Arguments& arguments, const torch::stable::Tensor& x) {
  const CudaLaunch launch(name, x);
  const size_t bytes = cuda::workspace(arguments, launch.device());
  if (bytes == 0) return launch.check(cuda::launch(arguments, launch.device(), nullptr, launch.stream()));
  const torch::stable::Tensor scratch = launch.scratch(bytes);
  launch.check(cuda::launch(arguments, launch.device(), scratch.mutable_data_ptr(), launch.stream()));
}

}  // namespace lite_rtse::ops
