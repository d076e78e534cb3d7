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
};

// The bytes of scratch memory that a launch needs. The caller provides them, aligned to 256 bytes; their contents do
// not matter.
size_t workspace(const CausalDwconv2dArgs&, const Device&);
size_t workspace(const CausalDwconv2dBackwardArgs&, const Device&);
size_t workspace(const ConvBlockArgs&, const Device&);
size_t workspace(const ConvBlockBackwardArgs&, const Device&);
size_t workspace(const MultiOrderConvArgs&, const Device&);
size_t workspace(const MultiOrderConvBackwardArgs&, const Device&);
size_t workspace(const MaskResidualArgs&, const Device&);
size_t workspace(const MaskResidualBackwardArgs&, const Device&);

// Enqueues the operator and returns the first error. `device` is the current device. `workspace` has the size that the
// function above returns; it may be null if that size is zero.
cudaError_t launch(const CausalDwconv2dArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const CausalDwconv2dBackwardArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const ConvBlockArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const ConvBlockBackwardArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MultiOrderConvArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MultiOrderConvBackwardArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MaskResidualArgs&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MaskResidualBackwardArgs&, const Device& device, void* workspace, cudaStream_t);

}  // namespace lite_rtse::cuda
