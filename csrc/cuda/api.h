// The CUDA kernels' one public face: the operators of ../kernels/api.h, with device pointers, enqueued on a stream.
//
// No torch, no Python. A launch neither synchronises nor allocates, so it can be captured in a graph; its result is the
// same bit for bit from run to run.
#pragma once

#include <driver_types.h>

#include <cstddef>

#include "../kernels/api.h"

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

// Bytes of scratch that a launch needs. The caller provides them aligned to 256 bytes; their contents do not matter.
size_t workspace(const CausalDwconv2d&, const Device&);
size_t workspace(const CausalDwconv2dBackward&, const Device&);
size_t workspace(const ConvBlock&, const Device&);
size_t workspace(const ConvBlockBackward&, const Device&);
size_t workspace(const MultiOrderConv&, const Device&);
size_t workspace(const MultiOrderConvBackward&, const Device&);
size_t workspace(const MaskResidual&, const Device&);
size_t workspace(const MaskResidualBackward&, const Device&);

// Enqueues the operator and returns the first error. `device` is the current device; `workspace` holds what the
// function above says and may be null where that is nothing.
cudaError_t launch(const CausalDwconv2d&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const CausalDwconv2dBackward&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const ConvBlock&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const ConvBlockBackward&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MultiOrderConv&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MultiOrderConvBackward&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MaskResidual&, const Device& device, void* workspace, cudaStream_t);
cudaError_t launch(const MaskResidualBackward&, const Device& device, void* workspace, cudaStream_t);

}  // namespace lite_rtse::cuda
