#include "common.h"
#include "entry.h"
#include "products.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

// Whether the frames come first in memory, as in a transposed view. Sequences of one frame each, and one sequence, are
// in both orders; they count as dense.
bool is_time_major(const Tensor& x) { return !x.is_contiguous() && torch::stable::transpose(x, 0, 1).is_contiguous(); }
// `t` in this order, copied only if it is not; and a new tensor in it.
Tensor in_order(const Tensor& t, bool time_major) {
  if (!time_major) return dense(t);
  return torch::stable::transpose(dense(torch::stable::transpose(t, 0, 1)), 0, 1);
}
Tensor new_in_order(const Tensor& like, int64_t batch, int64_t frames, int64_t width, bool time_major) {
  if (!time_major) return new_dense(like, {batch, frames, width});
  return torch::stable::transpose(new_dense(like, {frames, batch, width}), 0, 1);
}
// Data of a tensor (batch, frames, width) in this order. The tensor's strides tell its own order, which can be another:
// a hook on saved tensors may return the same values in any order.
const void* frames_data(const char* name, Tensor& t, const Tensor& x, int64_t width, bool time_major,
                        const char* meaning) {
  check_like(name, t, "x", x);
  check_shape(name, t, {x.size(0), x.size(1), width}, meaning);
  t = in_order(t, time_major);
  return t.const_data_ptr();
}

// A layer in one direction, with pointers to numbers of x's dtype. Their shapes are those of LstmArgs.
struct Layer {
  DType dtype;
  int64_t batch, frames, inputs, units;
  const void *x, *weight_ih, *weight_hh, *bias_ih, *bias_hh, *h0, *c0;
  void *y, *h, *c, *gates, *cells;
  bool reverse, time_major;
};

// The kernels of the CPU are for float32, those of a GPU for half types too.
DType supported_dtype(const Tensor& x) {
  const DType dtype = dtype_of("x", x);
  const bool half = dtype == DType::f16 || dtype == DType::bf16;
  STD_TORCH_CHECK(dtype == DType::f32 || (half && x.is_cuda()), "x has dtype ",
                  torch::headeronly::toString(x.scalar_type()), ", must be Float",
                  x.is_cuda() ? ", Half or BFloat16" : "");
  return dtype;
}

// What forward and backward share; the tensors become dense.
Layer layer_of(Tensor& x, Tensor& weight_ih, Tensor& weight_hh, std::optional<Tensor>& bias_ih,
               std::optional<Tensor>& bias_hh, std::optional<Tensor>& h0, std::optional<Tensor>& c0, bool reverse) {
  Layer a{};
  a.dtype = supported_dtype(x);
  check_shape("x", x, {kAny, kAny, kAny}, "(batch, frames, inputs)");
  STD_TORCH_CHECK(x.size(1) > 0, "x has shape ", shape_text(x), ", must have at least one frame");
  check_shape("weight_hh", weight_hh, {kAny, kAny}, "(4 units, units)");
  a.batch = x.size(0), a.frames = x.size(1), a.inputs = x.size(2), a.units = weight_hh.size(1);
  STD_TORCH_CHECK(a.units > 0, "weight_hh has shape ", shape_text(weight_hh), ", must have at least one unit");
  a.weight_hh = dense_data("weight_hh", weight_hh, x, {4 * a.units, a.units}, "(4 units, units)");
  a.weight_ih = dense_data("weight_ih", weight_ih, x, {4 * a.units, a.inputs}, "(4 units, inputs of x)");
  a.bias_ih = dense_data("bias_ih", bias_ih, x, {4 * a.units}, "(4 units)");
  a.bias_hh = dense_data("bias_hh", bias_hh, x, {4 * a.units}, "(4 units)");
  a.h0 = dense_data("h0", h0, x, {a.batch, a.units}, "(batch of x, units)");
  a.c0 = dense_data("c0", c0, x, {a.batch, a.units}, "(batch of x, units)");
  a.reverse = reverse;
  a.time_major = !x.is_cuda() && is_time_major(x);  // on CUDA the kernels read dense tensors
  x = in_order(x, a.time_major);
  a.x = x.const_data_ptr();
  return a;
}

const float* floats(const void* p) { return static_cast<const float*>(p); }
float* floats(void* p) { return static_cast<float*>(p); }

LstmArgs on_cpu(const Layer& a) {
  return {.batch = a.batch,
          .frames = a.frames,
          .inputs = a.inputs,
          .units = a.units,
          .x = floats(a.x),
          .h0 = floats(a.h0),
          .c0 = floats(a.c0),
          .weight_ih = floats(a.weight_ih),
          .weight_hh = floats(a.weight_hh),
          .bias_ih = floats(a.bias_ih),
          .bias_hh = floats(a.bias_hh),
          .y = floats(a.y),
          .h = floats(a.h),
          .c = floats(a.c),
          .gates = floats(a.gates),
          .cells = floats(a.cells),
          .threads = torch::stable::get_num_threads(),
          .reverse = a.reverse,
          .time_major = a.time_major};
}

#ifdef LITE_RTSE_CUDA

LstmRecurrenceArgs recurrence(const Layer& a) {
  return {a.dtype, a.batch, a.frames, a.units, nullptr, a.weight_hh, a.bias_ih, a.bias_hh,
          a.h0,    a.c0,    a.y,      a.h,     a.c,     a.gates,     a.cells,   a.reverse};
}

// The input's product is PyTorch's own. Only what depends on the frame before is a kernel of this library.
void lstm_on_gpu(const Layer& a, const Tensor& x, const Tensor& weight_ih) {
  const Tensor rows = shaped(x, {a.batch * a.frames, a.inputs});
  const Tensor input = product(rows, transposed(weight_ih));
  LstmRecurrenceArgs r = recurrence(a);
  r.input = input.const_data_ptr();
  enqueue("lstm", r, x);
}

#endif

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> lstm(Tensor x, Tensor weight_ih, Tensor weight_hh,
                                                        std::optional<Tensor> bias_ih, std::optional<Tensor> bias_hh,
                                                        std::optional<Tensor> h0, std::optional<Tensor> c0,
                                                        bool reverse, bool keep) {
  Layer a = layer_of(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, reverse);
  Tensor y = new_in_order(x, a.batch, a.frames, a.units, a.time_major);
  Tensor h = new_dense(x, {a.batch, a.units}), c = new_dense(x, {a.batch, a.units});
  const int64_t kept = keep ? a.frames : 0;
  Tensor gates = new_in_order(x, a.batch, kept, 4 * a.units, a.time_major);
  Tensor cells = new_in_order(x, a.batch, kept, a.units, a.time_major);
  a.y = y.mutable_data_ptr(), a.h = h.mutable_data_ptr(), a.c = c.mutable_data_ptr();
  if (keep) a.gates = gates.mutable_data_ptr(), a.cells = cells.mutable_data_ptr();
#ifdef LITE_RTSE_CUDA
  if (x.is_cuda()) {
    lstm_on_gpu(a, x, weight_ih);
    return {y, h, c, gates, cells};
  }
#endif
  run_on_cpu(&Kernels::lstm, on_cpu(a));
  return {y, h, c, gates, cells};
}

// A tensor for a gradient, and its data pointer. If the gradient is not wanted, the tensor is empty and the pointer is
// null.
std::pair<Tensor, void*> gradient(const Tensor& x, bool wanted, std::initializer_list<int64_t> shape) {
  Tensor t = new_dense(x, wanted ? std::vector<int64_t>(shape) : std::vector<int64_t>{0});
  return {t, wanted ? t.mutable_data_ptr() : nullptr};
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// What is given to a backward pass besides the layer; null means zeros.
struct Given {
  const void *dy, *dh, *dc;
};

#ifdef LITE_RTSE_CUDA

// The kernel computes the gates' gradients, all else is products of these with x and with h before each frame.
Gradients lstm_backward_on_gpu(const Layer& f, const Given& by, const Tensor& x, const Tensor& weight_ih,
                               const Tensor& dz, bool input, bool parameters, bool state) {
  const int64_t frames = f.batch * f.frames, rows = 4 * f.units;
  Tensor before = new_dense(x, {f.batch, f.frames, f.units});
  const auto [dh0, dh0_data] = gradient(x, state, {f.batch, f.units});
  const auto [dc0, dc0_data] = gradient(x, state, {f.batch, f.units});
  enqueue("lstm_backward",
          LstmRecurrenceBackwardArgs{recurrence(f), by.dy, by.dh, by.dc, dz.mutable_data_ptr(),
                                     before.mutable_data_ptr(), dh0_data, dc0_data},
          x);
  const Tensor none = new_dense(x, {0}), dz_rows = shaped(dz, {frames, rows});
  const Tensor dx = input ? shaped(product(dz_rows, weight_ih), {f.batch, f.frames, f.inputs}) : none;
  if (!parameters) return {dx, none, none, none, dh0, dc0};
  const Tensor by_row = transposed(dz_rows);
  return {dx,
          product(by_row, shaped(x, {frames, f.inputs})),
          product(by_row, shaped(before, {frames, f.units})),
          row_sums(by_row),
          dh0,
          dc0};
}

#endif

Gradients lstm_backward_on_cpu(const Layer& f, const Given& by, const Tensor& x, const Tensor& dz, bool input,
                               bool parameters, bool state) {
  Tensor dx = input ? new_in_order(x, f.batch, f.frames, f.inputs, f.time_major) : new_dense(x, {0});
  const auto [dweight_ih, dweight_ih_data] = gradient(x, parameters, {4 * f.units, f.inputs});
  const auto [dweight_hh, dweight_hh_data] = gradient(x, parameters, {4 * f.units, f.units});
  const auto [dbias, dbias_data] = gradient(x, parameters, {4 * f.units});
  const auto [dh0, dh0_data] = gradient(x, state, {f.batch, f.units});
  const auto [dc0, dc0_data] = gradient(x, state, {f.batch, f.units});
  run_on_cpu(&Kernels::lstm_backward, LstmBackwardArgs{.forward = on_cpu(f),
                                                       .dy = floats(by.dy),
                                                       .dh = floats(by.dh),
                                                       .dc = floats(by.dc),
                                                       .dz = floats(dz.mutable_data_ptr()),
                                                       .dx = input ? floats(dx.mutable_data_ptr()) : nullptr,
                                                       .dweight_ih = floats(dweight_ih_data),
                                                       .dweight_hh = floats(dweight_hh_data),
                                                       .dbias = floats(dbias_data),
                                                       .dh0 = floats(dh0_data),
                                                       .dc0 = floats(dc0_data)});
  return {dx, dweight_ih, dweight_hh, dbias, dh0, dc0};
}

Gradients lstm_backward(std::optional<Tensor> dy, std::optional<Tensor> dh, std::optional<Tensor> dc, Tensor x,
                        Tensor weight_ih, Tensor weight_hh, std::optional<Tensor> bias_ih,
                        std::optional<Tensor> bias_hh, std::optional<Tensor> h0, std::optional<Tensor> c0, Tensor y,
                        Tensor gates, Tensor cells, bool reverse, bool input, bool parameters, bool state) {
  Layer f = layer_of(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, reverse);
  // These tensors are only read, as all inputs are. The casts are needed because the struct belongs to the forward
  // pass, which writes them.
  const auto kept = [&](const char* name, Tensor& t, int64_t width, const char* meaning) {
    return const_cast<void*>(frames_data(name, t, x, width, f.time_major, meaning));
  };
  f.y = kept("y", y, f.units, "(batch, frames, units)");
  f.gates = kept("gates", gates, 4 * f.units, "(batch, frames, 4 units)");
  f.cells = kept("cells", cells, f.units, "(batch, frames, units)");
  const Given by{dy ? frames_data("dy", *dy, x, f.units, f.time_major, "the shape of y") : nullptr,
                 dense_data("dh", dh, x, {f.batch, f.units}, "the shape of h"),
                 dense_data("dc", dc, x, {f.batch, f.units}, "the shape of c")};
  const Tensor dz = new_dense(x, {f.batch, f.frames, 4 * f.units});
#ifdef LITE_RTSE_CUDA
  if (x.is_cuda()) return lstm_backward_on_gpu(f, by, x, weight_ih, dz, input, parameters, state);
#endif
  return lstm_backward_on_cpu(f, by, x, dz, input, parameters, state);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def(
      "lstm(Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? h0, Tensor? c0, "
      "bool reverse, bool keep) -> (Tensor y, Tensor h, Tensor c, Tensor gates, Tensor cells)");
  m.def(
      "lstm_backward(Tensor? dy, Tensor? dh, Tensor? dc, Tensor x, Tensor weight_ih, Tensor weight_hh, "
      "Tensor? bias_ih, Tensor? bias_hh, Tensor? h0, Tensor? c0, Tensor y, Tensor gates, Tensor cells, "
      "bool reverse, bool input, bool parameters, bool state) -> "
      "(Tensor dx, Tensor dweight_ih, Tensor dweight_hh, Tensor dbias, Tensor dh0, Tensor dc0)");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("lstm", TORCH_BOX(&lstm));
  m.impl("lstm_backward", TORCH_BOX(&lstm_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("lstm", TORCH_BOX(&lstm));
  m.impl("lstm_backward", TORCH_BOX(&lstm_backward));
}
#endif

}  // namespace lite_rtse::ops

// Whether the kernels of a GPU can run an LSTM of so many units there. No build for the CPU has any.
LITE_RTSE_EXPORT bool lite_rtse_lstm_fits([[maybe_unused]] int32_t dtype, [[maybe_unused]] int64_t units,
                                          [[maybe_unused]] int32_t device) {
#ifdef LITE_RTSE_CUDA
  return lite_rtse::ops::guarded(false, [=] {
    const torch::stable::accelerator::DeviceGuard guard(device);
    return lite_rtse::cuda::lstm_fits(lite_rtse::DType(dtype), units, lite_rtse::ops::device_limits(device));
  });
#else
  return false;
#endif
}
