#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

// The arguments that forward and backward share; the tensors become dense.
CausalDwconv2dArgs arguments(Tensor& x, Tensor& weight, int64_t dilation) {
  CausalDwconv2dArgs a{};
  a.dtype = dtype_of("x", x);
  check_shape("x", x, {kAny, kAny, kAny, kAny}, "(batch, channels, frames, bins)");
  a.weight = dense_data("weight", weight, x, {x.size(1), 1, kAny, kAny},
                        "(channels of x, 1, taps over frames, taps over bins)");
  a.batch = x.size(0), a.channels = x.size(1), a.frames = x.size(2), a.bins = x.size(3);
  a.taps_t = weight.size(2), a.taps_f = weight.size(3);
  STD_TORCH_CHECK(a.taps_t % 2 == 1 && a.taps_f % 2 == 1, "weight has kernel size ", a.taps_t, " x ", a.taps_f,
                  ", must be odd in both directions");
  STD_TORCH_CHECK(dilation > 0, "dilation is ", dilation, ", must be at least 1");
  a.dilation = std::min(dilation, std::max<int64_t>(a.frames, 1));  // taps further apart read zeros as well
  x = dense(x);
  a.x = x.const_data_ptr();
  return a;
}

Tensor causal_dwconv2d(Tensor x, Tensor weight, std::optional<Tensor> bias, int64_t dilation) {
  CausalDwconv2dArgs a = arguments(x, weight, dilation);
  a.bias = dense_data("bias", bias, x, {a.channels}, "(channels of x)");
  Tensor y = new_dense_like(x);
  a.y = y.mutable_data_ptr();
  run("causal_dwconv2d", &Kernels::causal_dwconv2d, a, x);
  return y;
}

std::tuple<Tensor, Tensor, Tensor> causal_dwconv2d_backward(Tensor dy, Tensor x, Tensor weight, int64_t dilation,
                                                            bool input, bool parameters) {
  CausalDwconv2dBackwardArgs a{};
  a.forward = arguments(x, weight, dilation);
  a.dy = dense_data("dy", dy, x, {x.size(0), x.size(1), x.size(2), x.size(3)}, "the shape of x");
  Tensor dx = new_gradient(input, x), dweight = new_gradient(parameters, weight),
         dbias = new_dense(x, {parameters ? a.forward.channels : 0});
  a.dx = gradient_data(dx), a.dweight = gradient_data(dweight), a.dbias = gradient_data(dbias);
  run("causal_dwconv2d_backward", &Kernels::causal_dwconv2d_backward, a, x);
  return {dx, dweight, dbias};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def("causal_dwconv2d(Tensor x, Tensor weight, Tensor? bias, int dilation=1) -> Tensor");
  m.def(
      "causal_dwconv2d_backward(Tensor dy, Tensor x, Tensor weight, int dilation, bool input, "
      "bool parameters) -> (Tensor dx, Tensor dweight, Tensor dbias)");
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
