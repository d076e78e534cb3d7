#include "../operators.h"

namespace lite_rtse::test {
namespace {

Operator multi_order(Plane p, int64_t from, int64_t channels, int64_t to, int64_t order, int64_t taps,
                     int64_t threads) {
  Operator op;
  op.name = "multi_order_conv C=" + std::to_string(channels) + " n=" + std::to_string(order) +
            " k=" + std::to_string(taps) + " T=" + std::to_string(p.frames);
  MultiOrderConvArgs geometry{};
  geometry.channels = channels, geometry.order = order;
  std::vector<int64_t> out{2 * channels}, in_each{from};
  int64_t split = 2 * channels - geometry.gate(0);
  for (int64_t k = 0; k < order - 1; split -= geometry.gate(k), ++k)
    out.push_back(split), in_each.push_back(taps * taps);
  for (int64_t k = 0; k < order - 1; ++k) out.push_back(2 * geometry.gate(k)), in_each.push_back(geometry.gate(k));
  out.push_back(to), in_each.push_back(channels);
  op.inputs = {random_values(p.batch * from * p.frames * p.bins)};
  for (size_t i = 0; i < out.size(); ++i)
    op.inputs.push_back(random_values(out[i] * in_each[i], 1 / std::sqrt(double(in_each[i]))));
  for (int64_t n : out) op.inputs.push_back(random_values(n, 0.3));
  op.output_size = p.batch * to * p.frames * p.bins;
  const int64_t count = int64_t(out.size());
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    MultiOrderConvArgs a{dtype,  p.batch, from,         channels, to, order,   p.frames,
                         p.bins, taps,    in[0].data(), {},       {}, nullptr, threads};
    for (int64_t i = 0; i < count; ++i)
      a.weight.push_back(in[1 + i].data()), a.bias.push_back(in[1 + count + i].data());
    return a;
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    const auto w = [&](int64_t i) { return in[1 + i]; };
    const auto b = [&](int64_t i) { return in[1 + count + i]; };
    const Doubles h = pointwise(in[0], w(0), b(0), p, from, 2 * channels);
    int64_t n = 2 * channels - geometry.gate(0);
    Doubles d = channels_of(h, p, 2 * channels, 0, n), q = channels_of(h, p, 2 * channels, n, geometry.gate(0));
    for (int64_t k = 0; k < order - 1; ++k) {
      const int64_t g = geometry.gate(k);
      const Doubles u = depthwise(d, w(geometry.dw_index(k)), b(geometry.dw_index(k)), p, n, taps, taps);
      d = channels_of(u, p, n, 0, n - g);
      q = pointwise(product(q, channels_of(u, p, n, n - g, g)), w(geometry.pw_index(k)), b(geometry.pw_index(k)), p, g,
                    2 * g);
      n -= g;
    }
    return pointwise(product(d, q), w(geometry.out_index()), b(geometry.out_index()), p, channels, to);
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    MultiOrderConvArgs a = args(dtype, in);
    a.y = y.data();
    return kernels().multi_order_conv(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    MultiOrderConvBackwardArgs a{args(dtype, in), dy.data(), g[0].data(), {}, {}};
    for (int64_t i = 0; i < count; ++i)
      a.dweight.push_back(g[1 + i].data()), a.dbias.push_back(g[1 + count + i].data());
    return kernels().multi_order_conv_backward(a);
  };
  return op;
}

const Registration registration{{
    [](const Suite::Check& check, int64_t threads) {
      for (const Plane p : kPlanes) {
        check(multi_order(p, 3, 8, 1, 3, 7, threads));
        check(multi_order(p, 8, 16, 16, 5, 3, threads));
        check(multi_order(p, 2, 6, 2, 2, 5, threads));
      }
      check(multi_order({1, 400, 3}, 2, 4, 1, 3, 7, threads));  // two segments
      check(multi_order({1, 40, 3}, 2, 4, 1, 3, 11, threads));  // a left context of more than a chunk
      for (const Plane p : kSmallPlanes) check(multi_order(p, 2, 4, 1, 2, 7, threads));
    },
    {{"multi_order_conv", [] { return multi_order(kCountedPlane, 32, 64, 1, 5, 7, 1); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
