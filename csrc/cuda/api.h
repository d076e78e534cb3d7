// The only public interface of the CUDA kernels: the operators of ../operators.h, with device pointers, enqueued on a
// stream.
//
// It uses neither torch nor Python. A launch neither synchronizes nor allocates, so it can be captured in a graph. Its
// result is the same to the bit from run to run.
#pragma once

#include <driver_types.h>

#include <cstddef>

#include "../operators.h"

namespace lite_rtse::cuda {

// The limits of a device that launch geometry depends on.
struct Device {
  int sm;  // compute capability, major * 10 + minor
  int multiprocessors;
  int shared_per_block;  // bytes, the most a kernel may opt in to
  int shared_per_sm;     // bytes
  int registers_per_sm;
  int threads_per_sm;
  int blocks_per_sm;
  int without_clusters = 0;  // 1: its code was compiled for devices before compute capability 9.0
};

// For the arguments of each operator, and for those of its backward pass:
//
// `workspace` returns the bytes of scratch memory that a launch needs. The caller provides them, aligned to 256 bytes;
// their contents do not matter.
//
// `launch` enqueues the operator and returns the first error. `device` is the current device. `workspace` has the size
// that the function of this name returns; it may be null if that size is zero.
//
// An operator without CUDA kernels has these declarations and no definitions.
#define LITE_RTSE_DECLARE(Arguments)                 \
  size_t workspace(const Arguments&, const Device&); \
  cudaError_t launch(const Arguments&, const Device& device, void* workspace, cudaStream_t);
#define LITE_RTSE_DECLARE_BOTH(name, Struct) \
  LITE_RTSE_DECLARE(Struct##Args)            \
  LITE_RTSE_DECLARE(Struct##BackwardArgs)
LITE_RTSE_OPERATORS(LITE_RTSE_DECLARE_BOTH)
// The kernels of the operators lstm and gru. They leave the products that need no frame before to PyTorch.
LITE_RTSE_DECLARE_BOTH(lstm, LstmRecurrence)
LITE_RTSE_DECLARE_BOTH(gru, GruRecurrence)
#undef LITE_RTSE_DECLARE_BOTH
#undef LITE_RTSE_DECLARE

// Whether all blocks that an LSTM of so many units needs can be on the device at the same time. If not, a launch
// returns cudaErrorInvalidConfiguration.
bool lstm_fits(DType dtype, int64_t units, const Device&);
// The same of a GRU.
bool gru_fits(DType dtype, int64_t units, int64_t directions, const Device&);

}  // namespace lite_rtse::cuda
