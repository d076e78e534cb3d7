#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

ConvBlockArgs arguments(const Tensor& x, const std::vector<Tensor>& weights, const std::vector<Tensor>& biases) {
  ConvBlockArgs a{};
  a.dtype = dtype_of("x", x);
  check_shape("x", x, {kAny, kAny, kAny, kAny}, "(batch, in channels, frames, bins)");
  check_count("weights", weights, ConvBlockArgs::kParams);
  check_count("biases", biases, ConvBlockArgs::kParams);
  a.batch = x.size(0), a.in_channels = x.size(1), a.frames = x.size(2), a.bins = x.size(3);
  check_shape("weights[0]", weights[0], {kAny, a.in_channels, 1, 1}, "1x1 in, (channels, in channels of x, 1, 1)");
  a.channels = weights[0].size(0);
  check_shape("weights[1]", weights[1], {a.channels, 1, 3, 3}, "depthwise, (channels, 1, 3, 3)");
  check_shape("weights[2]", weights[2], {a.channels, a.channels, 1, 1}, "1x1 out, (channels, channels, 1, 1)");
  check_shape("weights[3]", weights[3], {a.channels, a.in_channels, 1, 1},
              "1x1 skip, (channels, in channels of x, 1, 1)");
  for (int i = 0; i < ConvBlockArgs::kParams; ++i) {
    check_like(("weights[" + std::to_string(i) + "]").c_str(), weights[i], "x", x);
    const std::string name = "biases[" + std::to_string(i) + "]";
    check_like(name.c_str(), biases[i], "x", x);
    check_shape(name.c_str(), biases[i], {a.channels}, "(channels)");
  }
  return a;
}

void set_data(ConvBlockArgs& a, const Tensor& x, const std::vector<Tensor>& weights,
              const std::vector<Tensor>& biases) {
  a.x = x.const_data_ptr();
  for (int i = 0; i < ConvBlockArgs::kParams; ++i) {
    a.weight[i] = weights[i].const_data_ptr();
    a.bias[i] = biases[i].const_data_ptr();
  }
}

Tensor conv_block(Tensor x, std::vector<Tensor> weights, std::vector<Tensor> biases) {
  ConvBlockArgs a = arguments(x, weights, biases);
  x = dense(x), weights = dense(weights), biases = dense(biases);
  Tensor y = new_dense(x, {a.batch, a.channels, a.frames, a.bins});
  set_data(a, x, weights, biases);
  a.y = y.mutable_data_ptr();
  run("conv_block", &Kernels::conv_block, a, x);
  return y;
}

// Returns dx, then the gradients of the weights, then those of the biases. What is not wanted is empty.
std::vector<Tensor> conv_block_backward(Tensor dy, Tensor x, std::vector<Tensor> weights, std::vector<Tensor> biases,
                                        bool input, bool parameters) {
  ConvBlockBackwardArgs a{};
  a.forward = arguments(x, weights, biases);
  check_like("dy", dy, "x", x);
  check_shape("dy", dy, {a.forward.batch, a.forward.channels, a.forward.frames, a.forward.bins}, "the output's shape");
  dy = dense(dy), x = dense(x), weights = dense(weights), biases = dense(biases);
  set_data(a.forward, x, weights, biases);
  a.dy = dy.const_data_ptr();
  std::vector<Tensor> gradients{new_gradient(input, x)};
  for (const std::vector<Tensor>* list : {&weights, &biases})
    for (const Tensor& t : *list) gradients.push_back(new_gradient(parameters, t));
  a.dx = gradient_data(gradients[0]);
  for (int i = 0; i < ConvBlockArgs::kParams; ++i) {
    a.dweight[i] = gradient_data(gradients[1 + i]);
    a.dbias[i] = gradient_data(gradients[1 + ConvBlockArgs::kParams + i]);
  }
  run("conv_block_backward", &Kernels::conv_block_backward, a, x);
  return gradients;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def("conv_block(Tensor x, Tensor[] weights, Tensor[] biases) -> Tensor");
  m.def(
      "conv_block_backward(Tensor dy, Tensor x, Tensor[] weights, Tensor[] biases, bool input, "
      "bool parameters) -> Tensor[]");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("conv_block", TORCH_BOX(&conv_block));
  m.impl("conv_block_backward", TORCH_BOX(&conv_block_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("conv_block", TORCH_BOX(&conv_block));
  m.impl("conv_block_backward", TORCH_BOX(&conv_block_backward));
}
#endif

}  // namespace lite_rtse::ops
