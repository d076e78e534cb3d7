// All kernels, compiled for one instruction set. Included once by each isa_*.cpp, which names the build, sets the
// compiler's target and says how wide a vector is. Everything but the table has internal linkage, so that no function
// compiled for one instruction set can stand in for another's.

#define LITE_RTSE_INLINE inline __attribute__((always_inline))

// Before a loop whose rows do not overlap: more of them than the compiler would check by itself before it vectorises.
#if defined(__clang__)
#define LITE_RTSE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define LITE_RTSE_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace lite_rtse {
namespace LITE_RTSE_BUILD {
namespace {

constexpr int kVectorBytes = LITE_RTSE_VECTOR_BYTES;
constexpr bool kManyRegisters = LITE_RTSE_REGISTERS >= 32;
// Register tiles, see depthwise.inl and pointwise.inl; benchmarks/NOTES.md has the measurements behind the numbers.
constexpr int kTile = 16;                                  // bins of a depthwise tile
constexpr int kRest = 4;                                   // bins of one for what is left of a row
constexpr int kPoints = 6;                                 // points of a 1x1's tile two vectors wide
constexpr int kGradientChannels = kManyRegisters ? 8 : 4;  // channels of a 1x1 weight gradient's tile, two vectors wide
constexpr int64_t kChunk = 8;                              // frames between two steps of a march over time

// clang-format off: each file uses those before it
#include "simd.inl"
#include "rows.inl"
#include "segments.inl"
#include "depthwise.inl"
#include "pointwise.inl"
#include "packing.inl"
#include "causal_dwconv2d.inl"
#include "conv_block.inl"
#include "conv_block_backward.inl"
#include "multi_order_plan.inl"
#include "gate_chain.inl"
#include "multi_order_conv.inl"
#include "multi_order_conv_backward.inl"
#include "mask_residual.inl"
#include "fma_peak.inl"
// clang-format on

template <template <class> class J, class Args>
std::unique_ptr<Job> make(const Args& args, DType dtype) {
  if (dtype == DType::f64) return std::make_unique<J<double>>(args);
  return std::make_unique<J<float>>(args);
}
template <template <class> class J, class Args>
std::unique_ptr<Job> forward(const Args& args) {
  return make<J>(args, args.dtype);
}
template <template <class> class J, class Args>
std::unique_ptr<Job> backward(const Args& args) {
  return make<J>(args, args.forward.dtype);
}

}  // namespace

extern const Kernels table;
const Kernels table = {
    LITE_RTSE_BUILD_NAME,
    forward<CausalDwconv2dJob, CausalDwconv2d>,
    backward<CausalDwconv2dBackwardJob, CausalDwconv2dBackward>,
    forward<ConvBlockJob, ConvBlock>,
    backward<ConvBlockBackwardJob, ConvBlockBackward>,
    forward<MultiOrderConvJob, MultiOrderConv>,
    backward<MultiOrderConvBackwardJob, MultiOrderConvBackward>,
    forward<MaskResidualJob, MaskResidual>,
    backward<MaskResidualBackwardJob, MaskResidualBackward>,
    fma_peak,
};

}  // namespace LITE_RTSE_BUILD
}  // namespace lite_rtse
