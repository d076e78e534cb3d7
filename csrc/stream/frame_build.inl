// The one-frame network, compiled for one instruction set. It uses the building blocks of the CPU kernels; see
// cpu/build.inl.

namespace lite_rtse::stream {
namespace LITE_RTSE_BUILD {
namespace {

// clang-format off: each file uses those before it
// The building blocks of the CPU's kernels.
#include "../cpu/settings.inl"
#include "../cpu/simd.inl"
#include "../cpu/elementary.inl"
#include "../cpu/rows.inl"
#include "../cpu/segments.inl"
#include "../cpu/depthwise.inl"
#include "../cpu/pointwise.inl"
#include "../cpu/packing.inl"
#include "../cpu/multi_order_plan.inl"
#include "../cpu/gate_chain.inl"
#include "../cpu/dense.inl"
#include "../cpu/mask_residual.inl"
#include "../cpu/lstm_cell.inl"
// The code that computes one frame at a time.
#include "fft.inl"
#include "frame_dense.inl"
#include "frame_lstm.inl"
#include "frame_rows.inl"
#include "frame_conv_block.inl"
#include "frame_multi_order.inl"
#include "network.inl"
// clang-format on

std::unique_ptr<Network> make_network(const Parameters& p, Precision precision) {
  return std::make_unique<NetworkBuild>(p, precision);
}
void transform(const float* samples, float* real, float* imag) { RealTransform().forward(samples, real, imag); }
void inverse(const float* real, const float* imag, float* samples) { RealTransform().inverse(real, imag, samples); }

float dot(const float* a, const float* b, int64_t length) {
  constexpr int64_t kSums = 16 / kLanes<float>;
  Vec<float> sums[kSums] = {};
  for (int64_t i = 0; i < length; i += 16)
    for (int64_t j = 0; j < kSums; ++j) {
      const int64_t at = i + j * kLanes<float>;
      sums[j] += load_unaligned(a + at) * load_unaligned(b + at);
    }
  Vec<float> sum = sums[0];
  for (int64_t j = 1; j < kSums; ++j) sum += sums[j];
  return lane_sum<float>(sum);
}

}  // namespace

extern const Engine table;
const Engine table = {LITE_RTSE_BUILD_NAME, make_network, transform, inverse, dot};

}  // namespace LITE_RTSE_BUILD
}  // namespace lite_rtse::stream
