#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

using Optional = std::optional<Tensor>;

// The arguments that forward and backward share; the tensors become dense.
NormPreluArgs arguments(Tensor& x, Optional& weight, Optional& bias, Optional& slope, double eps) {
  NormPreluArgs a{};
  a.dtype = dtype_of("x", x);
  check_shape("x", x, {kAny, kAny, kAny}, "(batch, channels, points)");
  STD_TORCH_CHECK(eps >= 0, "eps is ", eps, ", must be at least 0");
  a.batch = x.size(0), a.channels = x.size(1), a.points = x.size(2), a.eps = eps;
  a.weight = dense_data("weight", weight, x, {a.channels}, "(channels of x)");
  a.bias = dense_data("bias", bias, x, {a.channels}, "(channels of x)");
  a.slopes = slope && slope->numel() != 1 ? a.channels : 1;
  a.slope = dense_data("slope", slope, x, {a.slopes}, "(1) or (channels of x)");
  x = dense(x);
  a.x = x.const_data_ptr();
  return a;
}

torch::headeronly::ScalarType statistics_type(const Tensor& x) {
  using torch::headeronly::ScalarType;
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

std::tuple<Tensor, Tensor> norm_prelu(Tensor x, Optional weight, Optional bias, Optional slope, Optional mean,
                                      Optional var, double eps) {
  NormPreluArgs a = arguments(x, weight, bias, slope, eps);
  STD_TORCH_CHECK(mean.has_value() == var.has_value(), "mean and var: one is None, both must be tensors or None");
  a.mean = dense_data("mean", mean, x, {a.channels}, "(channels of x)");
  a.var = dense_data("var", var, x, {a.channels}, "(channels of x)");
  Tensor y = new_dense_like(x);
  Tensor statistics = torch::stable::new_empty(x, {2, a.channels}, statistics_type(x));
  a.y = y.mutable_data_ptr(), a.statistics = statistics.mutable_data_ptr();
  run("norm_prelu", &Kernels::norm_prelu, a, x);
  return {y, statistics};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> norm_prelu_backward(Tensor dy, Tensor x, Optional weight, Optional bias,
                                                               Optional slope, Tensor statistics, bool batch_statistics,
                                                               double eps, bool input, bool parameters) {
  NormPreluBackwardArgs a{};
  a.forward = arguments(x, weight, bias, slope, eps);
  a.batch_statistics = batch_statistics;
  a.dy = dense_data("dy", dy, x, {x.size(0), x.size(1), x.size(2)}, "the shape of x");
  check_device("statistics", statistics, "x", x);
  check_shape("statistics", statistics, {2, x.size(1)}, "(2, channels of x)");
  check_dtype("statistics", statistics, statistics_type(x));
  statistics = dense(statistics);
  const auto of = [&](const Optional& t) { return t ? new_gradient(parameters, *t) : new_dense(x, {0}); };
  Tensor dx = new_gradient(input, x), dweight = of(weight), dbias = of(bias), dslope = of(slope);
  a.forward.statistics = const_cast<void*>(statistics.const_data_ptr());
  a.dx = gradient_data(dx), a.dweight = gradient_data(dweight);
  a.dbias = gradient_data(dbias), a.dslope = gradient_data(dslope);
  run("norm_prelu_backward", &Kernels::norm_prelu_backward, a, x);
  return {dx, dweight, dbias, dslope};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def(
      "norm_prelu(Tensor x, Tensor? weight, Tensor? bias, Tensor? slope, Tensor? mean, Tensor? var, float eps) -> "
      "(Tensor y, Tensor statistics)");
  m.def(
      "norm_prelu_backward(Tensor dy, Tensor x, Tensor? weight, Tensor? bias, Tensor? slope, Tensor statistics, "
      "bool batch_statistics, float eps, bool input, bool parameters) -> "
      "(Tensor dx, Tensor dweight, Tensor dbias, Tensor dslope)");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("norm_prelu", TORCH_BOX(&norm_prelu));
  m.impl("norm_prelu_backward", TORCH_BOX(&norm_prelu_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("norm_prelu", TORCH_BOX(&norm_prelu));
  m.impl("norm_prelu_backward", TORCH_BOX(&norm_prelu_backward));
}
#endif

}  // namespace lite_rtse::ops
