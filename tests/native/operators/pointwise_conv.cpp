#include "../operators.h"

namespace lite_rtse::test {
namespace {

// Inputs x, weight and, with `biased`, bias.
Operator pointwise_conv(int64_t batch, int64_t inputs, int64_t outputs, int64_t points, bool biased) {
  Operator op;
  op.name = "pointwise_conv B=" + std::to_string(batch) + " I=" + std::to_string(inputs) +
            " O=" + std::to_string(outputs) + " P=" + std::to_string(points) + (biased ? "" : " without bias");
  op.inputs = {random_values(batch * inputs * points),
               random_values(outputs * inputs, 1 / std::sqrt(double(inputs + 1)))};
  if (biased) op.inputs.push_back(random_values(outputs));
  op.output_size = batch * outputs * points;
  // f(index of y, index of x, index of the weight) for each product.
  const auto each = [=](const auto& f) {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t o = 0; o < outputs; ++o)
        for (int64_t i = 0; i < inputs; ++i)
          for (int64_t p = 0; p < points; ++p)
            f((b * outputs + o) * points + p, (b * inputs + i) * points + p, o * inputs + i);
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    Doubles y(batch * outputs * points);
    for (int64_t i = 0; biased && i < int64_t(y.size()); ++i) y[i] = in[2][i / points % outputs];
    each([&](int64_t of_y, int64_t of_x, int64_t of_weight) { y[of_y] += in[0][of_x] * in[1][of_weight]; });
    return y;
  };
  op.plain_gradients = [=](const std::vector<Doubles>& in, const Doubles& dy) {
    std::vector<Doubles> g = {Doubles(in[0].size()), Doubles(in[1].size())};
    each([&](int64_t of_y, int64_t of_x, int64_t of_weight) {
      g[0][of_x] += dy[of_y] * in[1][of_weight], g[1][of_weight] += dy[of_y] * in[0][of_x];
    });
    if (biased) g.emplace_back(outputs);
    for (int64_t i = 0; biased && i < int64_t(dy.size()); ++i) g[2][i / points % outputs] += dy[i];
    return g;
  };
  const auto args = [=](std::vector<Stored>& in, void* y) {
    const auto data = [&](size_t i) { return i < in.size() ? static_cast<const float*>(in[i].data()) : nullptr; };
    return PointwiseConvArgs{batch, inputs, outputs, points, data(0), data(1), data(2), static_cast<float*>(y)};
  };
  op.forward = [=](DType, std::vector<Stored>& in, Stored& y) { return kernels().pointwise_conv(args(in, y.data())); };
  op.backward = [=](DType, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    const auto data = [&](size_t i) { return i < g.size() ? static_cast<float*>(g[i].data()) : nullptr; };
    return kernels().pointwise_conv_backward(
        {args(in, nullptr), static_cast<const float*>(dy.data()), data(0), data(1), data(2)});
  };
  return op;
}

const Registration registration{{
    // Sizes around a vector, a group of vectors and a tile of rows; utterances that begin within a vector; more columns
    // and terms than one task, and than are computed together.
    [](const Suite::Check& check, int64_t) {
      for (const bool biased : {true, false}) {
        check(pointwise_conv(2, 6, 9, 17, biased));
        check(pointwise_conv(3, 1, 1, 1, biased));
        check(pointwise_conv(1, 300, 4, 33, biased));
        check(pointwise_conv(2, 3, 270, 19, biased));
        check(pointwise_conv(2, 5, 7, 430, biased));
      }
      check(pointwise_conv(130, 4, 3, 5, true));
      check(pointwise_conv(0, 2, 3, 4, true));
      check(pointwise_conv(2, 0, 3, 4, true));
      check(pointwise_conv(2, 3, 0, 4, true));
      check(pointwise_conv(2, 3, 4, 0, true));
    },
    {{"pointwise_conv", [] { return pointwise_conv(2, 64, 256, 200, true); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
