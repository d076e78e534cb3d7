#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

// The data of a tensor like x of the given shape; `t` becomes dense.
const float* data(const char* name, Tensor& t, const Tensor& x, std::initializer_list<int64_t> shape,
                  const char* meaning) {
  check_like(name, t, "x", x);
  check_shape(name, t, shape, meaning);
  t = dense(t);
  return static_cast<const float*>(t.const_data_ptr());
}
const float* data(const char* name, std::optional<Tensor>& t, const Tensor& x, std::initializer_list<int64_t> shape,
                  const char* meaning) {
  return t ? data(name, *t, x, shape, meaning) : nullptr;
}

std::tuple<Tensor, Tensor, Tensor> lstm(Tensor x, Tensor weight_ih, Tensor weight_hh, std::optional<Tensor> bias_ih,
                                        std::optional<Tensor> bias_hh, std::optional<Tensor> h0,
                                        std::optional<Tensor> c0) {
  STD_TORCH_CHECK(dtype_of("x", x) == DType::f32, "x has dtype ", torch::headeronly::toString(x.scalar_type()),
                  ", must be Float");
  check_shape("x", x, {kAny, kAny, kAny}, "(batch, frames, inputs)");
  STD_TORCH_CHECK(x.size(1) > 0, "x has shape ", shape_text(x), ", must have at least one frame");
  check_shape("weight_hh", weight_hh, {kAny, kAny}, "(4 units, units)");
  Lstm a{};
  a.batch = x.size(0), a.frames = x.size(1), a.inputs = x.size(2), a.units = weight_hh.size(1);
  STD_TORCH_CHECK(a.units > 0, "weight_hh has shape ", shape_text(weight_hh), ", must have at least one unit");
  a.weight_hh = data("weight_hh", weight_hh, x, {4 * a.units, a.units}, "(4 units, units)");
  a.weight_ih = data("weight_ih", weight_ih, x, {4 * a.units, a.inputs}, "(4 units, inputs of x)");
  a.bias_ih = data("bias_ih", bias_ih, x, {4 * a.units}, "(4 units)");
  a.bias_hh = data("bias_hh", bias_hh, x, {4 * a.units}, "(4 units)");
  a.h0 = data("h0", h0, x, {a.batch, a.units}, "(batch of x, units)");
  a.c0 = data("c0", c0, x, {a.batch, a.units}, "(batch of x, units)");
  x = dense(x);
  a.x = static_cast<const float*>(x.const_data_ptr());
  Tensor y = new_dense(x, {a.batch, a.frames, a.units});
  Tensor h = new_dense(x, {a.batch, a.units}), c = new_dense(x, {a.batch, a.units});
  a.y = static_cast<float*>(y.mutable_data_ptr());
  a.h = static_cast<float*>(h.mutable_data_ptr()), a.c = static_cast<float*>(c.mutable_data_ptr());
  a.threads = torch::stable::get_num_threads();
  run_tasks(*kernels().lstm(a));
  return {y, h, c};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def(
      "lstm(Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? h0, Tensor? c0) -> "
      "(Tensor, Tensor, Tensor)");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) { m.impl("lstm", TORCH_BOX(&lstm)); }

}  // namespace lite_rtse::ops
