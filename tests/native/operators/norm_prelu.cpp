#include "../operators.h"

namespace lite_rtse::test {
namespace {

// Inputs x, weight, bias, slope; and with `given`, mean and var. The statistics follow x in memory of their own.
Operator norm_prelu(int64_t batch, int64_t channels, int64_t points, int64_t slopes, bool given) {
  constexpr double kEps = 1e-3;
  Operator op;
  op.name = "norm_prelu B=" + std::to_string(batch) + " C=" + std::to_string(channels) +
            " N=" + std::to_string(points) + " slopes=" + std::to_string(slopes) + (given ? " given" : "");
  op.inputs = {random_values(batch * channels * points), random_values(channels), random_values(channels),
               random_values(slopes, 0.3)};
  // Every type holds these exactly.
  Doubles mean(channels), var(channels);
  for (int64_t c = 0; c < channels; ++c) mean[c] = 0.25 * double(c) - 0.5, var[c] = 0.5 + 0.25 * double(c);
  op.output_size = int64_t(op.inputs[0].size());
  const auto each = [=](int64_t c, const auto& f) {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < points; ++i) f((b * channels + c) * points + i);
  };
  // f(i, z) for each value of a channel.
  const auto each_z = [=](const std::vector<Doubles>& in, int64_t c, const auto& f) {
    double m = 0, v = 0;
    each(c, [&](int64_t i) { m += in[0][i] / double(batch * points); });
    each(c, [&](int64_t i) { v += (in[0][i] - m) * (in[0][i] - m) / double(batch * points); });
    if (given) m = mean[c], v = var[c];
    each(c, [&](int64_t i) { f(i, (in[0][i] - m) / std::sqrt(v + kEps) * in[1][c] + in[2][c]); });
  };
  // The derivative jumps at z = 0, and a difference across it is no derivative. So no z may lie near it.
  constexpr double kMargin = 2e-4;
  for (int64_t c = 0; c < channels; ++c) {
    for (double least = 0; least < kMargin; op.inputs[2][c] += least < kMargin ? kMargin : 0) {
      least = 1;
      each_z(op.inputs, c, [&](int64_t, double z) { least = std::min(least, std::fabs(z)); });
    }
  }
  op.plain = [=](const std::vector<Doubles>& in) {
    Doubles y(in[0].size());
    for (int64_t c = 0; c < channels; ++c)
      each_z(in, c, [&](int64_t i, double z) { y[i] = z > 0 ? z : in[3][slopes > 1 ? c : 0] * z; });
    return y;
  };
  // The statistics that the forward computes for the backward.
  const auto statistics = std::make_shared<Doubles>(2 * channels);
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    return NormPreluArgs{dtype,        batch,        channels, points,  slopes, in[0].data(), in[1].data(),
                         in[2].data(), in[3].data(), nullptr,  nullptr, kEps,   nullptr,      statistics->data()};
  };
  const auto stored_mean = std::make_shared<std::vector<Stored>>();
  const auto forward = [=](DType dtype, std::vector<Stored>& in, void* y) {
    NormPreluArgs a = args(dtype, in);
    *stored_mean = {Stored(dtype, mean), Stored(dtype, var)};
    if (given) a.mean = (*stored_mean)[0].data(), a.var = (*stored_mean)[1].data();
    a.y = y;
    return kernels().norm_prelu(a);
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) { return forward(dtype, in, y.data()); };
  const int64_t size = op.output_size;
  op.keep = [=](DType dtype, std::vector<Stored>& in) {
    Stored y(dtype, size);
    run_here(*forward(dtype, in, y.data()));
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    return kernels().norm_prelu_backward(
        {args(dtype, in), !given, dy.data(), g[0].data(), g[1].data(), g[2].data(), g[3].data()});
  };
  return op;
}

const Registration registration{{
    // Pieces, vectors and rests of both; one slope for all channels and one for each.
    [](const Suite::Check& check, int64_t) {
      for (const bool given : {true, false}) {
        check(norm_prelu(2, 3, 1030, 3, given));
        check(norm_prelu(3, 5, 67, 1, given));
        check(norm_prelu(1, 1, 2050, 1, given));
        check(norm_prelu(2, 0, 5, 1, given));
        check(norm_prelu(2, 3, 0, 3, given));
      }
      check(norm_prelu(7, 2, 1, 2, true));
    },
    {{"norm_prelu", [] { return norm_prelu(1, 64, kCountedPlane.frames * kCountedPlane.bins, 64, false); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
