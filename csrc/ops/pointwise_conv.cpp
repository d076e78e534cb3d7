#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

const float* data(const Tensor& t) { return static_cast<const float*>(t.const_data_ptr()); }
float* mutable_data(const Tensor& t) { return t.numel() ? static_cast<float*>(t.mutable_data_ptr()) : nullptr; }

// The arguments that forward and backward share; the tensors become dense.
PointwiseConvArgs arguments(Tensor& x, Tensor& weight) {
  STD_TORCH_CHECK(dtype_of("x", x) == DType::f32, "x has dtype ", torch::headeronly::toString(x.scalar_type()),
                  ", must be Float");
  check_shape("x", x, {kAny, kAny, kAny}, "(batch, channels, points)");
  check_like("weight", weight, "x", x);
  check_shape("weight", weight, {kAny, x.size(1)}, "(outputs, channels of x)");
  x = dense(x), weight = dense(weight);
  return {x.size(0), x.size(1), weight.size(0), x.size(2), data(x), data(weight), nullptr, nullptr};
}

Tensor pointwise_conv(Tensor x, Tensor weight, std::optional<Tensor> bias) {
  PointwiseConvArgs a = arguments(x, weight);
  a.bias = static_cast<const float*>(dense_data("bias", bias, x, {a.outputs}, "(outputs)"));
  Tensor y = new_dense(x, {a.batch, a.outputs, a.points});
  a.y = mutable_data(y);
  run_on_cpu(&Kernels::pointwise_conv, a);
  return y;
}

std::tuple<Tensor, Tensor, Tensor> pointwise_conv_backward(Tensor dy, Tensor x, Tensor weight, bool input,
                                                           bool parameters) {
  PointwiseConvBackwardArgs a{arguments(x, weight), nullptr, nullptr, nullptr, nullptr};
  const PointwiseConvArgs& f = a.forward;
  check_like("dy", dy, "x", x);
  check_shape("dy", dy, {f.batch, f.outputs, f.points}, "(batch, outputs, points)");
  dy = dense(dy);
  Tensor dx = input ? new_dense_like(x) : new_dense(x, {0}),
         dweight = parameters ? new_dense_like(weight) : new_dense(x, {0}),
         dbias = new_dense(x, {parameters ? f.outputs : 0});
  a.dy = data(dy), a.dx = mutable_data(dx), a.dweight = mutable_data(dweight), a.dbias = mutable_data(dbias);
  run_on_cpu(&Kernels::pointwise_conv_backward, a);
  return {dx, dweight, dbias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def("pointwise_conv(Tensor x, Tensor weight, Tensor? bias) -> Tensor");
  m.def(
      "pointwise_conv_backward(Tensor dy, Tensor x, Tensor weight, bool input, bool parameters) -> "
      "(Tensor dx, Tensor dweight, Tensor dbias)");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("pointwise_conv", TORCH_BOX(&pointwise_conv));
  m.impl("pointwise_conv_backward", TORCH_BOX(&pointwise_conv_backward));
}

}  // namespace lite_rtse::ops
