#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

CausalDwconv2dArgs arguments(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                             int64_t dilation) {
  CausalDwconv2dArgs a{};
  a.dtype = dtype_of("x", x);
  check_shape("x", x, {kAny, kAny, kAny, kAny}, "(batch, channels, frames, bins)");
  check_like("weight", weight, "x", x);
  check_shape("weight", weight, {x.size(1), 1, kAny, kAny}, "(channels of x, 1, taps over frames, taps over bins)");
  a.batch = x.size(0), a.channels = x.size(1), a.frames = x.size(2), a.bins = x.size(3);
  a.taps_t = weight.size(2), a.taps_f = weight.size(3);
  STD_TORCH_CHECK(a.taps_t % 2 == 1 && a.taps_f % 2 == 1, "weight has kernel size ", a.taps_t, " x ", a.taps_f,
                  ", must be odd in both directions");
  STD_TORCH_CHECK(dilation > 0, "dilation is ", dilation, ", must be at least 1");
  a.dilation = std::min(dilation, std::max<int64_t>(a.frames, 1));  // taps further apart read zeros as well
  if (bias) {
    check_like("bias", *bias, "x", x);
    check_shape("bias", *bias, {a.channels}, "(channels of x)");
  }
  return a;
}

Tensor causal_dwconv2d(Tensor x, Tensor weight, std::optional<Tensor> bias, int64_t dilation) {
  CausalDwconv2dArgs a = arguments(x, weight, bias, dilation);
  x = dense(x), weight = dense(weight);
  if (bias) bias = dense(*bias);
  Tensor y = new_dense_like(x);
  a.x = x.const_data_ptr(), a.weight = weight.const_data_ptr(), a.bias = bias ? bias->const_data_ptr() : nullptr;
  a.y = y.mutable_data_ptr();
  run("causal_dwconv2d", &Kernels::causal_dwconv2d, a, x);
  return y;
}

std::tuple<Tensor, Tensor, Tensor> causal_dwconv2d_backward(Tensor dy, Tensor x, Tensor weight, int64_t dilation) {
  CausalDwconv2dBackwardArgs a{};
  a.forward = arguments(x, weight, std::nullopt, dilation);
  check_like("dy", dy, "x", x);
  check_shape("dy", dy, {x.size(0), x.size(1), x.size(2), x.size(3)}, "the shape of x");
  x = dense(x), weight = dense(weight), dy = dense(dy);
  Tensor dx = new_dense_like(x), dweight = new_dense_like(weight), dbias = new_dense(x, {a.forward.channels});
  a.forward.x = x.const_data_ptr(), a.forward.weight = weight.const_data_ptr();
  a.dy = dy.const_data_ptr();
  a.dx = dx.mutable_data_ptr(), a.dweight = dweight.mutable_data_ptr(), a.dbias = dbias.mutable_data_ptr();
  run("causal_dwconv2d_backward", &Kernels::causal_dwconv2d_backward, a, x);
  return {dx, dweight, dbias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def("causal_dwconv2d(Tensor x, Tensor weight, Tensor? bias, int dilation=1) -> Tensor");
  m.def("causal_dwconv2d_backward(Tensor dy, Tensor x, Tensor weight, int dilation=1) -> (Tensor, Tensor, Tensor)");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("causal_dwconv2d", TORCH_BOX(&causal_dwconv2d));
  m.impl("causal_dwconv2d_backward", TORCH_BOX(&causal_dwconv2d_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("causal_dwconv2d", TORCH_BOX(&causal_dwconv2d));
  m.impl("causal_dwconv2d_backward", TORCH_BOX(&causal_dwconv2d_backward));
}
#endif

}  // namespace lite_rtse::ops
