#include "../operators.h"

namespace lite_rtse::test {
namespace {

// The spectrogram is (batch, bins, frames, 2), or physically (batch, frames, bins, 2) where `frames_major`.
Operator mask_residual(Plane p, bool frames_major) {
  Operator op;
  op.name = std::string("mask_residual ") + (frames_major ? "frames-major" : "bins-major");
  const int64_t points = p.batch * p.frames * p.bins;
  op.inputs = {random_values(2 * points)};
  for (int i = 0; i < 4; ++i) op.inputs.push_back(random_values(points));
  op.output_size = 2 * points;
  const auto view = [=](const void* data) {
    const int64_t bin = frames_major ? 2 : 2 * p.frames, frame = frames_major ? 2 * p.bins : 2;
    return Spectrogram{data, 2 * p.frames * p.bins, bin, frame, 1};
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    Doubles y(2 * points);
    const Spectrogram v = view(nullptr);
    for (int64_t n = 0; n < p.batch; ++n)
      for (int64_t t = 0; t < p.frames; ++t)
        for (int64_t f = 0; f < p.bins; ++f) {
          const int64_t at = n * v.batch_stride + t * v.frame_stride + f * v.bin_stride,
                        i = (n * p.frames + t) * p.bins + f;
          const double m = std::hypot(in[0][at], in[0][at + 1]), masked = m / (1 + std::exp(-in[1][i]));
          const double magnitude = in[2][i] * (m - masked) + masked;
          const double phase = std::atan2(in[0][at + 1], in[0][at]) + std::atan2(in[4][i], in[3][i]);
          y[at] = magnitude * std::cos(phase), y[at + 1] = magnitude * std::sin(phase);
        }
    return y;
  };
  const auto args = [=](DType dtype, std::vector<Stored>& in, void* y) {
    return MaskResidualArgs{dtype,   p.batch,      p.frames,     p.bins,       view(in[0].data()),
                            view(y), in[1].data(), in[2].data(), in[3].data(), in[4].data()};
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    return kernels().mask_residual(args(dtype, in, y.data()));
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    return kernels().mask_residual_backward({args(dtype, in, nullptr), view(dy.data()), view(g[0].data()), g[1].data(),
                                             g[2].data(), g[3].data(), g[4].data()});
  };
  return op;
}

const Registration registration{{
    [](const Suite::Check& check, int64_t) {
      for (const std::vector<Plane>& planes : {kPlanes, kSmallPlanes})
        for (const Plane p : planes)
          for (const bool frames_major : {false, true}) check(mask_residual(p, frames_major));
    },
    {{"mask_residual", [] { return mask_residual(kCountedPlane, false); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
