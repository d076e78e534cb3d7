#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

std::string entry(const char* list, int64_t i) { return std::string(list) + "[" + std::to_string(i) + "]"; }

constexpr int64_t kMaxOrder = 32;  // the number of channels is a multiple of 2^(order - 1)

MultiOrderConvArgs arguments(const Tensor& x, const std::vector<Tensor>& weights, const std::vector<Tensor>& biases) {
  MultiOrderConvArgs a{};
  a.dtype = dtype_of("x", x);
  check_shape("x", x, {kAny, kAny, kAny, kAny}, "(batch, in channels, frames, bins)");
  a.batch = x.size(0), a.in_channels = x.size(1), a.frames = x.size(2), a.bins = x.size(3);
  STD_TORCH_CHECK(weights.size() >= 4 && weights.size() % 2 == 0, "weights has ", weights.size(),
                  " tensors, must have 2 n for order n >= 2: in, n - 1 depthwise, n - 1 pointwise, out");
  check_count("biases", biases, weights.size());
  a.order = int64_t(weights.size()) / 2;
  STD_TORCH_CHECK(a.order <= kMaxOrder, "weights has ", weights.size(), " tensors, for order ", a.order,
                  ", must be of order ", kMaxOrder, " at most");

  check_shape("weights[0]", weights[0], {kAny, a.in_channels, 1, 1}, "1x1 in, (2 channels, in channels of x, 1, 1)");
  const int64_t doubled = weights[0].size(0), unit = int64_t(1) << (a.order - 1);
  STD_TORCH_CHECK(doubled > 0 && doubled % (2 * unit) == 0, "weights[0] gives ", doubled,
                  " channels, must be twice a multiple of 2^(order - 1) = ", unit, " for the ", weights.size(),
                  " weights of order ", a.order);
  a.channels = doubled / 2;
  STD_TORCH_CHECK(weights[1].dim() == 4, "weights[1] has shape ", shape_text(weights[1]), ", must have 4 dimensions");
  a.taps = weights[1].size(2);
  STD_TORCH_CHECK(a.taps % 2 == 1, "weights[1] has kernel size ", a.taps, ", must be odd");

  std::vector<int64_t> bias_length{doubled};
  int64_t split = doubled - a.gate(0);
  for (int64_t k = 0; k < a.stages(); ++k) {
    check_shape(entry("weights", a.dw_index(k)).c_str(), weights[a.dw_index(k)], {split, 1, a.taps, a.taps},
                "depthwise");
    bias_length.push_back(split);
    split -= a.gate(k);
  }
  for (int64_t k = 0; k < a.stages(); ++k) {
    check_shape(entry("weights", a.pw_index(k)).c_str(), weights[a.pw_index(k)], {2 * a.gate(k), a.gate(k), 1, 1},
                "1x1 from gate to gate, (2 g, g, 1, 1)");
    bias_length.push_back(2 * a.gate(k));
  }
  const Tensor& out = weights[a.out_index()];
  check_shape(entry("weights", a.out_index()).c_str(), out, {kAny, a.channels, 1, 1},
              "1x1 out, (out channels, channels, 1, 1)");
  a.out_channels = out.size(0);
  STD_TORCH_CHECK(a.out_channels > 0, entry("weights", a.out_index()),
                  " gives 0 output channels, must give at least 1");
  bias_length.push_back(a.out_channels);

  for (int64_t i = 0; i < int64_t(weights.size()); ++i) {
    check_like(entry("weights", i).c_str(), weights[i], "x", x);
    check_like(entry("biases", i).c_str(), biases[i], "x", x);
    check_shape(entry("biases", i).c_str(), biases[i], {bias_length[i]},
                "(output channels of the weight it goes with)");
  }
  return a;
}

Tensor multi_order_conv(Tensor x, std::vector<Tensor> weights, std::vector<Tensor> biases) {
  MultiOrderConvArgs a = arguments(x, weights, biases);
  x = dense(x), weights = dense(weights), biases = dense(biases);
  Tensor y = new_dense(x, {a.batch, a.out_channels, a.frames, a.bins});
  a.x = x.const_data_ptr(), a.weight = data_of(weights), a.bias = data_of(biases);
  a.y = y.mutable_data_ptr();
  a.threads = torch::stable::get_num_threads();
  run("multi_order_conv", &Kernels::multi_order_conv, a, x);
  return y;
}

// Returns dx, then the gradients of the weights, then those of the biases. What is not wanted is empty.
std::vector<Tensor> multi_order_conv_backward(Tensor dy, Tensor x, std::vector<Tensor> weights,
                                              std::vector<Tensor> biases, bool input, bool parameters) {
  MultiOrderConvBackwardArgs a{};
  a.forward = arguments(x, weights, biases);
  MultiOrderConvArgs& f = a.forward;
  check_like("dy", dy, "x", x);
  check_shape("dy", dy, {f.batch, f.out_channels, f.frames, f.bins}, "the output's shape");
  dy = dense(dy), x = dense(x), weights = dense(weights), biases = dense(biases);
  f.x = x.const_data_ptr(), f.weight = data_of(weights), f.bias = data_of(biases);
  a.dy = dy.const_data_ptr();
  std::vector<Tensor> gradients{new_gradient(input, x)};
  const std::vector<Tensor> dweights = new_gradients(parameters, weights), dbiases = new_gradients(parameters, biases);
  a.dx = gradient_data(gradients[0]);
  a.dweight = gradient_data(dweights), a.dbias = gradient_data(dbiases);
  run("multi_order_conv_backward", &Kernels::multi_order_conv_backward, a, x);
  gradients.insert(gradients.end(), dweights.begin(), dweights.end());
  gradients.insert(gradients.end(), dbiases.begin(), dbiases.end());
  return gradients;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def("multi_order_conv(Tensor x, Tensor[] weights, Tensor[] biases) -> Tensor");
  m.def(
      "multi_order_conv_backward(Tensor dy, Tensor x, Tensor[] weights, Tensor[] biases, bool input, "
      "bool parameters) -> Tensor[]");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("multi_order_conv", TORCH_BOX(&multi_order_conv));
  m.impl("multi_order_conv_backward", TORCH_BOX(&multi_order_conv_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("multi_order_conv", TORCH_BOX(&multi_order_conv));
  m.impl("multi_order_conv_backward", TORCH_BOX(&multi_order_conv_backward));
}
#endif

}  // namespace lite_rtse::ops
