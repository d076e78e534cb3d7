// The kernels' one public face: plain C++, no torch, no Python.
//
// Every operator is a Job: a fixed list of independent tasks and a final step that combines what the tasks
// left behind. The caller decides which thread runs which task; a job's results do not depend on it, since
// tasks share nothing and `finish` adds their partial sums in task order. A job whose work has two parts, of which
// the second needs all of the first, names the second as `next`.
//
// All tensors are dense and row-major unless strides are given. Half types are computed in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lite_rtse {

enum class DType { f64, f32, f16, bf16 };

class Job {
 public:
  virtual ~Job() = default;
  virtual int64_t tasks() const = 0;
  virtual void run(int64_t task) = 0;
  virtual void finish() {}
  // What is left to run once this has finished, null where nothing is.
  virtual std::unique_ptr<Job> next() { return nullptr; }
};

// y = bias + causal depthwise convolution of x; `bias` may be null.
// x, y: (batch, channels, frames, bins); weight: (channels, 1, taps_t, taps_f), both odd; bias: (channels).
struct CausalDwconv2d {
  DType dtype;
  int64_t batch, channels, frames, bins, taps_t, taps_f;
  const void *x, *weight, *bias;
  void* y;
};

// Gradients of the above for a given dy; dbias may be null.
struct CausalDwconv2dBackward {
  CausalDwconv2d forward;  // y unused
  const void* dy;
  void *dx, *dweight, *dbias;
};

// y = out(dw(in(x))) * skip(x), with 1x1 `in`, `out`, `skip` and a causal depthwise 3x3 `dw`.
// weight and bias in the order in, dw, out, skip.
struct ConvBlock {
  static constexpr int kIn = 0, kDw = 1, kOut = 2, kSkip = 3, kParams = 4;
  DType dtype;
  int64_t batch, in_channels, channels, frames, bins;
  const void* x;
  const void *weight[kParams], *bias[kParams];
  void* y;
};

struct ConvBlockBackward {
  ConvBlock forward;  // y unused
  const void* dy;
  void* dx;
  void *dweight[ConvBlock::kParams], *dbias[ConvBlock::kParams];
};

// The Multi-Order block. weight and bias in the order in, dw_0 … dw_{n-2}, pw_0 … pw_{n-2}, out.
struct MultiOrderConv {
  DType dtype;
  int64_t batch, in_channels, channels, out_channels, order, frames, bins, taps;
  const void* x;
  std::vector<const void*> weight, bias;
  void* y;
  int64_t threads;  // a hint: how finely long utterances are cut; the result does not depend on it

  int64_t stages() const { return order - 1; }
  int64_t gate(int64_t k) const { return channels >> (order - 1 - k); }
  int64_t in_index() const { return 0; }
  int64_t dw_index(int64_t k) const { return 1 + k; }
  int64_t pw_index(int64_t k) const { return order + k; }
  int64_t out_index() const { return 2 * order - 1; }
};

struct MultiOrderConvBackward {
  MultiOrderConv forward;  // y unused
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
struct MaskResidual {
  DType dtype;
  int64_t batch, frames, bins;
  Spectrogram x, y;  // y.data is written
  const void *logit, *res_mag, *res_real, *res_imag;
};

struct MaskResidualBackward {
  MaskResidual forward;  // y unused
  Spectrogram dy, dx;    // dx.data is written
  void *dlogit, *dres_mag, *dres_real, *dres_imag;
};

// One layer of an LSTM in one direction, float32, from x and the state before its first frame to y and the state after
// its last. Gates in PyTorch's order i, f, g, o; h0, c0 and the biases may be null: zeros.
// x: (batch, frames, inputs); weight_ih: (4 units, inputs); weight_hh: (4 units, units); biases: (4 units);
// y: (batch, frames, units); h0, c0, h, c: (batch, units). At least one frame. For a backward pass gates and cells,
// else null, get every frame's gates i, f, g, o after their activation, (batch, frames, 4 units), and its c, (batch,
// frames, units).
struct Lstm {
  int64_t batch, frames, inputs, units;
  const float *x, *h0, *c0, *weight_ih, *weight_hh, *bias_ih, *bias_hh;
  float *y, *h, *c, *gates, *cells;
  int64_t threads;  // a hint: among how many tasks the sequences are divided; the result does not depend on it
};

// Gradients of the above for given dy, dh and dc, null for zeros. What is not asked for may be null: dx, both weights',
// dbias, which is the gradient of either bias and comes with the weights' only, dh0, dc0.
struct LstmBackward {
  Lstm forward;  // y, gates and cells are read; biases, h and c unused
  const float *dy, *dh, *dc;
  float* dz;  // scratch that all threads share: (batch, frames, 4 units)
  float *dx, *dweight_ih, *dweight_hh, *dbias, *dh0, *dc0;
};

// One build of all kernels for one instruction set.
struct Kernels {
  const char* isa;
  std::unique_ptr<Job> (*causal_dwconv2d)(const CausalDwconv2d&);
  std::unique_ptr<Job> (*causal_dwconv2d_backward)(const CausalDwconv2dBackward&);
  std::unique_ptr<Job> (*conv_block)(const ConvBlock&);
  std::unique_ptr<Job> (*conv_block_backward)(const ConvBlockBackward&);
  std::unique_ptr<Job> (*multi_order_conv)(const MultiOrderConv&);
  std::unique_ptr<Job> (*multi_order_conv_backward)(const MultiOrderConvBackward&);
  std::unique_ptr<Job> (*mask_residual)(const MaskResidual&);
  std::unique_ptr<Job> (*mask_residual_backward)(const MaskResidualBackward&);
  std::unique_ptr<Job> (*lstm)(const Lstm&);
  std::unique_ptr<Job> (*lstm_backward)(const LstmBackward&);
  // float32 multiply-adds, in FLOP/s, that one thread reaches in registers alone: what the kernels are measured
  // against.
  double (*fma_peak)(double seconds);
  // The same that it reaches in the depthwise stages of the Multi-Order block alone, over so many frames.
  double (*cascade_rate)(int64_t frames);
};

// The best build this machine can run, or the one named by the environment variable LITE_RTSE_ISA.
// Throws std::runtime_error where that names an unknown build or one this machine cannot run.
const Kernels& kernels();

// Names of the builds this machine can run, best first.
std::vector<std::string> runnable_isas();

}  // namespace lite_rtse
