#include "../operators.h"

namespace lite_rtse::test {
namespace {

Operator dwconv(Plane p, int64_t channels, int64_t kt, int64_t kf, int64_t dilation = 1) {
  Operator op;
  op.name = "causal_dwconv2d " + std::to_string(kt) + "x" + std::to_string(kf) + " C=" + std::to_string(channels) +
            " d=" + std::to_string(dilation);
  op.inputs = {random_values(p.batch * channels * p.frames * p.bins), random_values(channels * kt * kf),
               random_values(channels)};
  op.output_size = int64_t(op.inputs[0].size());
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    return CausalDwconv2dArgs{dtype, p.batch,      channels,     p.frames,     p.bins,  kt,
                              kf,    in[0].data(), in[1].data(), in[2].data(), nullptr, dilation};
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    return depthwise(in[0], in[1], in[2], p, channels, kt, kf, dilation);
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    CausalDwconv2dArgs a = args(dtype, in);
    a.y = y.data();
    return kernels().causal_dwconv2d(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    return kernels().causal_dwconv2d_backward({args(dtype, in), dy.data(), g[0].data(), g[1].data(), g[2].data()});
  };
  return op;
}

const Registration registration{{
    [](const Suite::Check& check, int64_t) {
      for (const Plane p : kPlanes) {
        check(dwconv(p, 5, 7, 7));
        check(dwconv(p, 19, 3, 3));
        check(dwconv(p, 3, 1, 5));
        check(dwconv(p, 17, 3, 3, 2));
        check(dwconv(p, 2, 5, 3, 9));
      }
      check(dwconv({1, 600, 3}, 3, 7, 7));  // several segments
      check(dwconv({1, 600, 3}, 2, 3, 3, 70));
      for (const Plane p : kSmallPlanes) {
        check(dwconv(p, 3, 3, 5));
        check(dwconv(p, 0, 3, 3));
      }
    },
    {{"causal_dwconv2d", [] { return dwconv(kCountedPlane, 64, 7, 7); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
