// The list of the operators, and their arguments. The CPU kernels, the CUDA kernels and the argument checks in front of
// them share both. This is plain C++ without torch or Python.
//
// All tensors are dense and row-major unless strides are given. Half types are computed in float32.
#pragma once

#include <cstdint>
#include <vector>

// Marks functions that the CPU code and the CUDA kernels share.
#ifdef __CUDACC__
#define LITE_RTSE_SHARED_CODE __host__ __device__
#else
#define LITE_RTSE_SHARED_CODE
#endif

// Every operator: X(name, Struct). Its arguments are StructArgs and StructBackwardArgs. The entry points in cpu/api.h
// and cuda/api.h are made from this list.
#define LITE_RTSE_OPERATORS(X)        \
  X(causal_dwconv2d, CausalDwconv2d)  \
  X(conv_block, ConvBlock)            \
  X(multi_order_conv, MultiOrderConv) \
  X(mask_residual, MaskResidual)      \
  X(norm_prelu, NormPrelu)            \
  X(pointwise_conv, PointwiseConv)    \
  X(lstm, Lstm)                       \
  X(gru, Recurrent)

namespace lite_rtse {

enum class DType { f64, f32, f16, bf16 };

// y = bias + causal depthwise convolution of x; `bias` may be null. Neighboring taps over frames are `dilation` frames
// apart.
// x, y: (batch, channels, frames, bins). weight: (channels, 1, taps_t, taps_f); taps_t and taps_f are odd. bias:
// (channels).
struct CausalDwconv2dArgs {
  DType dtype;
  int64_t batch, channels, frames, bins, taps_t, taps_f;
  const void *x, *weight, *bias;
  void* y;
  int64_t dilation = 1;

  // The frames before a frame on which it depends.
  int64_t history() const { return (taps_t - 1) * dilation; }
};

// Gradients of CausalDwconv2dArgs for a given dy. Gradients that are not wanted may be null: dx, both parameters'
// together, and dbias.
struct CausalDwconv2dBackwardArgs {
  CausalDwconv2dArgs forward;  // y is unused
  const void* dy;
  void *dx, *dweight, *dbias;

  bool wants_parameters() const { return dweight != nullptr; }
};

// y = out(dw(in(x))) * skip(x). `in`, `out` and `skip` are 1x1 convolutions; `dw` is a causal depthwise 3x3
// convolution. weight and bias are in the order in, dw, out, skip.
struct ConvBlockArgs {
  static constexpr int kIn = 0, kDw = 1, kOut = 2, kSkip = 3, kParams = 4;
  DType dtype;
  int64_t batch, in_channels, channels, frames, bins;
  const void* x;
  const void *weight[kParams], *bias[kParams];
  void* y;
};

// Gradients of ConvBlockArgs for a given dy. Gradients that are not wanted may be null: dx, and all parameters'
// together.
struct ConvBlockBackwardArgs {
  ConvBlockArgs forward;  // y is unused
  const void* dy;
  void* dx;
  void *dweight[ConvBlockArgs::kParams], *dbias[ConvBlockArgs::kParams];

  bool wants_parameters() const { return dbias[0] != nullptr; }  // a weight may be empty
};

// The number of channels of gate k in a Multi-Order block of n - 1 stages and C channels: C / 2^(n - 1 - k).
LITE_RTSE_SHARED_CODE constexpr int64_t gate_channels(int64_t channels, int stages, int k) {
  return channels >> (stages - k);
}

// The Multi-Order block. weight and bias are in the order in, dw_0 … dw_{n-2}, pw_0 … pw_{n-2}, out.
struct MultiOrderConvArgs {
  DType dtype;
  int64_t batch, in_channels, channels, out_channels, order, frames, bins, taps;
  const void* x;
  std::vector<const void*> weight, bias;
  void* y;
  int64_t threads;  // a hint for how finely long utterances are cut; the result does not depend on it

  int64_t stages() const { return order - 1; }
  int64_t gate(int64_t k) const { return gate_channels(channels, int(stages()), int(k)); }
  int64_t in_index() const { return 0; }
  int64_t dw_index(int64_t k) const { return 1 + k; }
  int64_t pw_index(int64_t k) const { return order + k; }
  int64_t out_index() const { return 2 * order - 1; }
};

// Gradients of MultiOrderConvArgs for a given dy. Gradients that are not wanted may be null: dx, and all parameters'
// together.
struct MultiOrderConvBackwardArgs {
  MultiOrderConvArgs forward;  // y is unused
  const void* dy;
  void* dx;
  std::vector<void*> dweight, dbias;

  bool wants_parameters() const { return dbias[0] != nullptr; }  // a weight may be empty
};

// A (batch, bins, frames, 2) spectrogram in any memory order. The strides are in elements.
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

// Gradients of MaskResidualArgs for a given dy. Gradients that are not wanted may be null: dx.data, and those of the
// other four tensors together. dx has strides in any case.
struct MaskResidualBackwardArgs {
  MaskResidualArgs forward;  // y is unused
  Spectrogram dy, dx;        // dx.data is written
  void *dlogit, *dres_mag, *dres_real, *dres_imag;

  bool wants_features() const { return dlogit != nullptr; }
};

// A 1x1 convolution in float32, y = weight x + bias for each point; `bias` may be null.
// x: (batch, inputs, points); weight: (outputs, inputs); bias: (outputs); y: (batch, outputs, points).
struct PointwiseConvArgs {
  int64_t batch, inputs, outputs, points;
  const float *x, *weight, *bias;
  float* y;
};

// Gradients of PointwiseConvArgs for a given dy. Those that are not wanted may be null.
struct PointwiseConvBackwardArgs {
  PointwiseConvArgs forward;  // y and bias are unused
  const float* dy;
  float *dx, *dweight, *dbias;
};

// One layer of an LSTM in one direction, in float32. It maps x and the state before the first frame to y and the state
// after the last frame. The gates are in PyTorch's order i, f, g, o. h0, c0 and the biases may be null, which means
// zeros.
// x: (batch, frames, inputs); weight_ih: (4 units, inputs); weight_hh: (4 units, units); biases: (4 units);
// y: (batch, frames, units); h0, c0, h, c: (batch, units). There is at least one frame.
// A backward pass needs gates and cells; otherwise both are null. gates gets every frame's activated gates i, f, g, o,
// as (batch, frames, 4 units). cells gets every frame's c, as (batch, frames, units).
// A reverse layer begins at the last frame. "Before" and "after" then follow its order.
// If `time_major`, the frames of x, y, gates and cells come first in memory: (frames, batch, …) instead of (batch,
// frames, …).
struct LstmArgs {
  int64_t batch, frames, inputs, units;
  const float *x, *h0, *c0, *weight_ih, *weight_hh, *bias_ih, *bias_hh;
  float *y, *h, *c, *gates, *cells;
  int64_t threads;  // a hint for the number of tasks that share the sequences; the result does not depend on it
  bool reverse, time_major;

  // The frame that step `i` computes.
  int64_t time(int64_t i) const { return reverse ? frames - 1 - i : i; }
  // The place in memory of frame t of sequence b, in frames; and the sequence and the frame at a place.
  int64_t row(int64_t b, int64_t t) const { return time_major ? t * batch + b : b * frames + t; }
  int64_t sequence_of(int64_t row) const { return time_major ? row % batch : row / frames; }
  int64_t frame_of(int64_t row) const { return time_major ? row / batch : row % frames; }
};

// Gradients of LstmArgs for given dy, dh and dc; null means zeros. Gradients that are not wanted may be null: dx, both
// weights' gradients, dbias, dh0, dc0. dbias is the gradient of either bias; it is only computed with the weights'
// gradients. dy, dz and dx are in memory as y is.
struct LstmBackwardArgs {
  LstmArgs forward;  // y, gates and cells are read; the biases, h and c are unused
  const float *dy, *dh, *dc;
  float* dz;  // scratch memory that all threads share: (batch, frames, 4 units)
  float *dx, *dweight_ih, *dweight_hh, *dbias, *dh0, *dc0;
};

// y = PReLU(weight (x - mean) / sqrt(var + eps) + bias): z for z > 0, and slope z otherwise. Without `mean` and `var`,
// they are those of each channel of x, with the variance of all values. `weight`, `bias` and `slope` may be null, which
// means ones, zeros and ones.
// x, y: (batch, channels, points). weight, bias, mean, var: (channels). slope: (slopes), one for all channels or one
// for each. statistics: (2, channels), mean and var; float64 for float64 tensors and float32 for all others.
struct NormPreluArgs {
  DType dtype;
  int64_t batch, channels, points, slopes;
  const void *x, *weight, *bias, *slope, *mean, *var;
  double eps;
  void *y, *statistics;
};

// Gradients of NormPreluArgs for a given dy. If `batch_statistics`, mean and var depend on x. Each gradient may be
// null.
struct NormPreluBackwardArgs {
  NormPreluArgs forward;  // statistics is read; mean, var and y are unused
  bool batch_statistics;
  const void* dy;
  void *dx, *dweight, *dbias, *dslope;

  bool wants_parameters() const { return dweight || dbias || dslope; }
  // The sums over a channel are gradients of parameters, and dx contains them.
  bool needs_sums() const { return wants_parameters() || batch_statistics; }
};

// What depends on the frame before in an LSTM's layer, in one direction, in float32 or a half type. `input` is W_ih x,
// without the biases. The other tensors are those of LstmArgs.
// input: (batch, frames, 4 units)
struct LstmRecurrenceArgs {
  DType dtype;
  int64_t batch, frames, units;
  const void *input, *weight_hh, *bias_ih, *bias_hh, *h0, *c0;
  void *y, *h, *c, *gates, *cells;
  bool reverse;
};

// The gradients of `input`, which is that of the gates before their activation, and of the state before the first
// frame. `before` gets h before each frame. The other gradients are products of these two with tensors of the layer.
// dz: (batch, frames, 4 units); before: (batch, frames, units); dh0, dc0: (batch, units), which may be null.
struct LstmRecurrenceBackwardArgs {
  LstmRecurrenceArgs forward;  // y, gates and cells are read; input, the biases, h and c are unused
  const void *dy, *dh, *dc;    // null means zeros
  void *dz, *before, *dh0, *dc0;
};

// One layer of a GRU in one or two directions, over many sequences. The second direction begins at the last frame. The
// gates are in PyTorch's order r, z, n. h0 and the biases may be null, which means zeros.
// x: (batch, frames, inputs); y: (batch, frames, directions * units); h0: (directions, batch, units).
// For each direction: weight_ih: (3 units, inputs); weight_hh: (3 units, units); biases: (3 units).
// A backward pass needs `kept`; otherwise it is null. It has kept_size() numbers, float64 for float64 tensors and
// float32 for all others. Their order is the kernels' own affair.
struct RecurrentArgs {
  static constexpr int kMostDirections = 2;
  static constexpr int64_t kKeptValues = 4;  // of a unit and frame
  static constexpr int64_t kKeptGap = 16;    // behind each direction: no vector has more numbers

  DType dtype;
  int64_t batch, frames, inputs, units, directions;
  const void *x, *h0;
  const void *weight_ih[kMostDirections], *weight_hh[kMostDirections], *bias_ih[kMostDirections],
      *bias_hh[kMostDirections];
  void *y, *kept;

  int64_t kept_size() const { return directions * (kKeptValues * units * frames * batch + kKeptGap); }
};

// Gradients of RecurrentArgs for a given dy. Gradients that are not wanted may be null: dx, dh0, and all of the
// parameters' together.
struct RecurrentBackwardArgs {
  RecurrentArgs forward;  // y and kept are read
  const void* dy;
  void *dx, *dh0;
  void *dweight_ih[RecurrentArgs::kMostDirections], *dweight_hh[RecurrentArgs::kMostDirections],
      *dbias_ih[RecurrentArgs::kMostDirections], *dbias_hh[RecurrentArgs::kMostDirections];
};

// What depends on the frame before in a GRU's layer, in one or two directions. `input` is W_ih x, without the biases.
// The other tensors are those of RecurrentArgs. For each direction, `kept` has the activated r, z, n, and W_hn h with
// its bias, as (batch, frames, 4 units).
// For each direction: input: (batch, frames, 3 units), float64 for float64 tensors and float32 for all others.
struct GruRecurrenceArgs {
  static constexpr int kMostDirections = RecurrentArgs::kMostDirections;

  DType dtype;
  int64_t batch, frames, units, directions;
  const void *input[kMostDirections], *weight_hh[kMostDirections], *bias_ih[kMostDirections], *bias_hh[kMostDirections],
      *h0;
  void *y, *kept;
};

// The gradients of `input`, of W_hh h with its bias, and of the state before the first frame. `before` gets h before
// each frame. The other gradients are products of these with tensors of the layer.
// For each direction, with the dtype of `input`: dinput, dstate: (batch, frames, 3 units); before: (batch, frames,
// units). dh0 may be null.
struct GruRecurrenceBackwardArgs {
  GruRecurrenceArgs forward;  // y and kept are read; input and the biases are unused
  const void* dy;
  void *dinput[GruRecurrenceArgs::kMostDirections], *dstate[GruRecurrenceArgs::kMostDirections],
      *before[GruRecurrenceArgs::kMostDirections], *dh0;
};

}  // namespace lite_rtse
