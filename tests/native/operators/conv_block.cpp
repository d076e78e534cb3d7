#include "../operators.h"

namespace lite_rtse::test {
namespace {

Operator conv_block(Plane p, int64_t from, int64_t channels) {
  Operator op;
  op.name = "conv_block " + std::to_string(from) + "->" + std::to_string(channels);
  const int64_t weight[4] = {from * channels, channels * 9, channels * channels, from * channels};
  op.inputs = {random_values(p.batch * from * p.frames * p.bins)};
  for (int64_t n : weight) op.inputs.push_back(random_values(n, 0.3));
  for (int i = 0; i < 4; ++i) op.inputs.push_back(random_values(channels));
  op.output_size = p.batch * channels * p.frames * p.bins;
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    ConvBlockArgs a{dtype, p.batch, from, channels, p.frames, p.bins, in[0].data(), {}, {}, nullptr};
    for (int i = 0; i < 4; ++i) a.weight[i] = in[1 + i].data(), a.bias[i] = in[5 + i].data();
    return a;
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    const Doubles h = depthwise(pointwise(in[0], in[1], in[5], p, from, channels), in[2], in[6], p, channels, 3, 3);
    return product(pointwise(h, in[3], in[7], p, channels, channels),
                   pointwise(in[0], in[4], in[8], p, from, channels));
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    ConvBlockArgs a = args(dtype, in);
    a.y = y.data();
    return kernels().conv_block(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    ConvBlockBackwardArgs a{args(dtype, in), dy.data(), g[0].data(), {}, {}};
    for (int i = 0; i < 4; ++i) a.dweight[i] = g[1 + i].data(), a.dbias[i] = g[5 + i].data();
    return kernels().conv_block_backward(a);
  };
  return op;
}

const Registration registration{{
    [](const Suite::Check& check, int64_t) {
      for (const Plane p : kPlanes) {
        check(conv_block(p, 1, 8));
        check(conv_block(p, 9, 20));
      }
      check(conv_block({1, 300, 3}, 2, 4));  // several segments
      for (const Plane p : kSmallPlanes) check(conv_block(p, 2, 5));
    },
    {{"conv_block_1_32", [] { return conv_block(kCountedPlane, 1, 32); }},
     {"conv_block_32_32", [] { return conv_block(kCountedPlane, 32, 32); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
