// The one-frame network, compiled for one instruction set. It uses the building blocks of the CPU kernels; see
// cpu/build.inl.

namespace lite_rtse::stream {
namespace LITE_RTSE_BUILD {
namespace {

// clang-format off: each file uses those before it
// The building blocks of the CPU's kernels.
#include "../cpu/settings.inl"
#include "../cpu/simd.inl"
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

}  // namespace

extern const Engine table;
const Engine table = {LITE_RTSE_BUILD_NAME, make_network, transform, inverse};

}  // namespace LITE_RTSE_BUILD
}  // namespace lite_rtse::stream
