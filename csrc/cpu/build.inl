// All kernels, compiled for one instruction set. Each isa_*.cpp includes this file once, through an isa_*.inl. The
// isa_*.inl names the build, sets the compiler's target and states the width of a vector. Everything but the table has
// internal linkage. The linker thus cannot replace a function for one instruction set by that for another.

namespace lite_rtse {
namespace LITE_RTSE_BUILD {
namespace {

// Read the files in the order below: each file uses those before it. To understand one operator, read the first two
// groups and then the operator's own group.
//
// clang-format off
// Vectors, the layout of data, and the division of time into tasks.
#include "settings.inl"
#include "simd.inl"
#include "rows.inl"
#include "segments.inl"
// The micro-kernels, and the layout of weights that they read.
#include "depthwise.inl"
#include "pointwise.inl"
#include "packing.inl"
// causal_dwconv2d, the shortest operator.
#include "causal_dwconv2d.inl"
// conv_block
#include "conv_block.inl"
#include "conv_block_backward.inl"
// multi_order_conv, beginning with its plan.
#include "multi_order_plan.inl"
#include "gate_chain.inl"
#include "multi_order_conv.inl"
#include "multi_order_conv_backward.inl"
// mask_residual, which needs only the first group.
#include "mask_residual.inl"
// lstm, which needs no micro-kernel, but exp_negative of mask_residual.inl.
#include "dense.inl"
#include "lstm_cell.inl"
#include "lstm.inl"
#include "lstm_backward.inl"
// gru, for many sequences and for a few. It needs dense.inl and the functions of lstm_cell.inl.
#include "sequences.inl"
#include "recurrent.inl"
#include "recurrent_gradients.inl"
#include "gru.inl"
#include "gru_backward.inl"
#include "gru_rows.inl"
#include "gru_rows_backward.inl"
// The measurements for benchmarks.
#include "rates.inl"
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
    forward<CausalDwconv2dJob, CausalDwconv2dArgs>,
    backward<CausalDwconv2dBackwardJob, CausalDwconv2dBackwardArgs>,
    forward<ConvBlockJob, ConvBlockArgs>,
    backward<ConvBlockBackwardJob, ConvBlockBackwardArgs>,
    forward<MultiOrderConvJob, MultiOrderConvArgs>,
    backward<MultiOrderConvBackwardJob, MultiOrderConvBackwardArgs>,
    forward<MaskResidualJob, MaskResidualArgs>,
    backward<MaskResidualBackwardJob, MaskResidualBackwardArgs>,
    lstm,
    lstm_backward,
    gru,
    gru_backward,
    fma_peak,
    cascade_rate,
};

}  // namespace LITE_RTSE_BUILD
}  // namespace lite_rtse
