// The operators' arguments, which the CPU's kernels, the CUDA kernels and the checks before them share. Plain C++, no
// torch, no Python.
//
// All tensors are dense and row-major unless strides are given. Half types are computed in float32.
#pragma once

#include <cstdint>
#include <vector>

// For functions that the CPU and a GPU's kernels share.
#ifdef __CUDACC__
#define LITE_RTSE_SHARED_CODE __host__ __device__
#else
#define LITE_RTSE_SHARED_CODE
#endif

namespace lite_rtse {

enum class DType { f64, f32, f16, bf16 };

// y = bias + causal depthwise convolution of x; `bias` may be null.
// x, y: (batch, channels, frames, bins); weight: (channels, 1, taps_t, taps_f), both odd; bias: (channels).
struct CausalDwconv2dArgs {
  DType dtype;
  int64_t batch, channels, frames, bins, taps_t, taps_f;
  const void *x, *weight, *bias;
  void* y;
};

// Gradients of the above for a given dy; dbias may be null.
struct CausalDwconv2dBackwardArgs {
  CausalDwconv2dArgs forward;  // y unused
  const void* dy;
  void *dx, *dweight, *dbias;
};

// y = out(dw(in(x))) * skip(x), with 1x1 `in`, `out`, `skip` and a causal depthwise 3x3 `dw`.
// weight and bias in the order in, dw, out, skip.
struct ConvBlockArgs {
  static constexpr int kIn = 0, kDw = 1, kOut = 2, kSkip = 3, kParams = 4;
  DType dtype;
  int64_t batch, in_channels, channels, frames, bins;
  const void* x;
  const void *weight[kParams], *bias[kParams];
  void* y;
};

struct ConvBlockBackwardArgs {
  ConvBlockArgs forward;  // y unused
  const void* dy;
  void* dx;
  void *dweight[ConvBlockArgs::kParams], *dbias[ConvBlockArgs::kParams];
};

// Channels of gate k in a Multi-Order block of n - 1 stages and C channels: C / 2^(n - 1 - k).
LITE_RTSE_SHARED_CODE constexpr int64_t gate_channels(int64_t channels, int stages, int k) {
  return channels >> (stages - k);
}

// The Multi-Order block. weight and bias in the order in, dw_0 … dw_{n-2}, pw_0 … pw_{n-2}, out.
struct MultiOrderConvArgs {
  DType dtype;
  int64_t batch, in_channels, channels, out_channels, order, frames, bins, taps;
  const void* x;
  std::vector<const void*> weight, bias;
  void* y;
  int64_t threads;  // a hint: how finely long utterances are cut; the result does not depend on it

  int64_t stages() const { return order - 1; }
  int64_t gate(int64_t k) const { return gate_channels(channels, int(stages()), int(k)); }
  int64_t in_index() const { return 0; }
  int64_t dw_index(int64_t k) const { return 1 + k; }
  int64_t pw_index(int64_t k) const { return order + k; }
  int64_t out_index() const { return 2 * order - 1; }
};

struct MultiOrderConvBackwardArgs {
  MultiOrderConvArgs forward;  // y unused
  const void* dy;
  void* dx;
  std::vector<void*> dweight, dbias;
};

// A (batch, bins, frames, 2) spectrogram in any memory order; strides in elements.
struct Spectrogram {
  const void* data;
  int64_t batch_stride, bin_stride, frame_stride, part_stride;
};

// S = (R_mag (1 - M) + M) · R/|R| · X with M = sigmoid(logit), R = R_re + i R_im.
// logit, res_*: (batch, frames, bins).
struct MaskResidualArgs {
  DType dtype;
  int64_t batch, frames, bins;
  Spectrogram x, y;  // y.data is written
  const void *logit, *res_mag, *res_real, *res_imag;
};

struct MaskResidualBackwardArgs {
  MaskResidualArgs forward;  // y unused
  Spectrogram dy, dx;        // dx.data is written
  void *dlogit, *dres_mag, *dres_real, *dres_imag;
};

// One layer of an LSTM in one direction, float32, from x and the state before its first frame to y and the state after
// its last. Gates in PyTorch's order i, f, g, o; h0, c0 and the biases may be null: zeros.
// x: (batch, frames, inputs); weight_ih: (4 units, inputs); weight_hh: (4 units, units); biases: (4 units);
// y: (batch, frames, units); h0, c0, h, c: (batch, units). At least one frame. For a backward pass gates and cells,
// else null, get every frame's gates i, f, g, o after their activation, (batch, frames, 4 units), and its c, (batch,
// frames, units).
struct LstmArgs {
  int64_t batch, frames, inputs, units;
  const float *x, *h0, *c0, *weight_ih, *weight_hh, *bias_ih, *bias_hh;
  float *y, *h, *c, *gates, *cells;
  int64_t threads;  // a hint: among how many tasks the sequences are divided; the result does not depend on it
};

// Gradients of the above for given dy, dh and dc, null for zeros. What is not asked for may be null: dx, both weights',
// dbias, which is the gradient of either bias and comes with the weights' only, dh0, dc0.
struct LstmBackwardArgs {
  LstmArgs forward;  // y, gates and cells are read; biases, h and c unused
  const float *dy, *dh, *dc;
  float* dz;  // scratch that all threads share: (batch, frames, 4 units)
  float *dx, *dweight_ih, *dweight_hh, *dbias, *dh0, *dc0;
};

}  // namespace lite_rtse
