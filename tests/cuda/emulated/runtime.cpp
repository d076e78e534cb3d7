// PyTorch's CUDA and the CUDA runtime, as far as csrc/ops uses them, answered by the emulator.
//
// A launch is what happens while a device guard lives: one at a time, each with a schedule of its own.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdlib>
#include <mutex>

#include "../../../csrc/cpu/api.h"
#include "../../../csrc/cpu/memory.h"
#include "../../../csrc/cuda/common/plan.h"
#include "../../simt/simt.hpp"
#include "include/cuda_runtime_api.h"

namespace lite_rtse {

namespace cuda {
SIMT_DYNAMIC_SHARED(SIMT_DEFINE_DYNAMIC_SHARED)
}

// None of the CPU's kernels are here, so that nothing can take them by mistake.
const Kernels& kernels() {
  static const Kernels none{.isa = "emulated CUDA"};
  return none;
}
std::vector<std::string> runnable_isas() { return {"emulated CUDA"}; }
void trim_thread_scratch() {}

namespace {

// The one whose compute capability, times 10, is in the environment variable LITE_RTSE_EMULATED_SM.
const cuda::Device& device() {
  const char* const wanted = std::getenv("LITE_RTSE_EMULATED_SM");
  for (const cuda::Device& d : cuda::kDevices)
    if (wanted && d.sm == std::atoi(wanted)) return d;
  std::abort();
}

// The compute capability, times 10, that its code was compiled for: its own, unless LITE_RTSE_EMULATED_CODE is another.
int code() {
  const char* const older = std::getenv("LITE_RTSE_EMULATED_CODE");
  return older ? std::atoi(older) : device().sm;
}

// The current stream; a launch on any other is an error.
cudaStream_t stream() {
  static char somewhere;
  return reinterpret_cast<cudaStream_t>(&somewhere);
}

std::mutex& launching() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace
}  // namespace lite_rtse

using lite_rtse::device;

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = device().multiprocessors; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = device().threads_per_sm; break;
    case cudaDevAttrComputeCapabilityMajor: *value = device().sm / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = device().sm % 10; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = device().shared_per_sm; break;
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = device().registers_per_sm; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = device().shared_per_block; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = device().blocks_per_sm; break;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*)()) {
  attributes->ptxVersion = lite_rtse::code();
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t) { return "emulated"; }

extern "C" {

AOTITorchError aoti_torch_create_device_guard(int32_t, DeviceGuardHandle* guard) {
  static uint64_t launches = 0;
  lite_rtse::launching().lock();
  simt::configure({.shared_opt_in = size_t(device().shared_per_block),
                   .multiprocessors = unsigned(device().multiprocessors),
                   .cluster_blocks = lite_rtse::code() >= 90 ? 8u : 1u},
                  {.seed = launches++, .stream = lite_rtse::stream()});
  *guard = reinterpret_cast<DeviceGuardHandle>(&launches);
  return 0;
}
AOTITorchError aoti_torch_delete_device_guard(DeviceGuardHandle) {
  lite_rtse::launching().unlock();
  return 0;
}
AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
  *stream = lite_rtse::stream();
  return 0;
}
}
