#include "cuda.h"

#include <cuda_runtime_api.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/ops.h>

#include <map>
#include <mutex>
#include <stdexcept>

#include "common.h"
#include "cuda_architectures.h"

namespace lite_rtse::ops {
namespace {

std::string capability_text(int sm) { return std::to_string(sm / 10) + "." + std::to_string(sm % 10); }

cuda::Device query(int index) {
  const auto get = [&](cudaDeviceAttr attribute) {
    int value = 0;
    const cudaError_t error = cudaDeviceGetAttribute(&value, attribute, index);
    STD_TORCH_CHECK(error == cudaSuccess, "cuda:", index, " does not tell its limits: ", cudaGetErrorString(error));
    return value;
  };
  cuda::Device d{};
  d.sm = 10 * get(cudaDevAttrComputeCapabilityMajor) + get(cudaDevAttrComputeCapabilityMinor);
  d.multiprocessors = get(cudaDevAttrMultiProcessorCount);
  d.shared_per_block = get(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  d.shared_per_sm = get(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  d.registers_per_sm = get(cudaDevAttrMaxRegistersPerMultiprocessor);
  d.threads_per_sm = get(cudaDevAttrMaxThreadsPerMultiProcessor);
  d.blocks_per_sm = get(cudaDevAttrMaxBlocksPerMultiprocessor);
  d.without_clusters = cuda_code_architecture() < 90;
  return d;
}

std::string explanation(cudaError_t error, const cuda::Device& d) {
  switch (error) {
    case cudaErrorInvalidConfiguration:
      return "no launch for these sizes fits the device, which has " + std::to_string(d.shared_per_block) +
             " bytes of shared memory a block";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
      return "this build has kernels for compute capability " + cuda_architectures_text() +
             "; build it with TORCH_CUDA_ARCH_LIST=" + capability_text(d.sm);
    case cudaErrorUnsupportedPtxVersion:
      return "the driver is older than the CUDA toolkit that this build was made with; build it with "
             "TORCH_CUDA_ARCH_LIST=" +
             capability_text(d.sm);
    default: return "it may come from an earlier kernel; CUDA_LAUNCH_BLOCKING=1 tells from which";
  }
}

}  // namespace

// Queries each device once: the answer does not change, and a launch should cost little.
cuda::Device device_limits(int index) {
  static std::mutex mutex;
  static std::map<int, cuda::Device> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(index);
  return found != known.end() ? found->second : known.emplace(index, query(index)).first->second;
}

std::string cuda_architectures_text() {
  std::string text;
  for (const int sm : cuda_architectures()) text += (text.empty() ? "" : ", ") + capability_text(sm);
  return text;
}

CudaLaunch::CudaLaunch(const char* name, const torch::stable::Tensor& x)
    : name_(name), x_(x), guard_(x.get_device_index()), device_(device_limits(x.get_device_index())) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  stream_ = static_cast<cudaStream_t>(stream);
}

torch::stable::Tensor CudaLaunch::scratch(size_t bytes) const {
  const int64_t elements = (int64_t(bytes) + int64_t(x_.element_size()) - 1) / int64_t(x_.element_size());
  return new_dense(x_, {elements});
}

void CudaLaunch::check(cudaError_t error) const {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // otherwise PyTorch's next check would raise this error again, for another kernel
  const std::string what = std::string("lite_rtse::") + name_ + " on " + device_text(x_) + ", compute capability " +
                           capability_text(device_.sm) + ", with a first argument of shape " + shape_text(x_);
  // A launch needs memory too, for the kernel's code. Python knows the error by how its message begins.
  if (error == cudaErrorMemoryAllocation) throw std::runtime_error("CUDA out of memory. No launch of " + what);
  STD_TORCH_CHECK(false, what, ": ", cudaGetErrorString(error), " (", cudaGetErrorName(error),
                  "): ", explanation(error, device_));
}

}  // namespace lite_rtse::ops
