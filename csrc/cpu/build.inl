// All kernels, compiled for one instruction set. Each isa_*.cpp includes this file once, through an isa_*.inl. The
// isa_*.inl names the build, sets the compiler's target and states the width of a vector. Everything but the table has
// internal linkage. The linker thus cannot replace a function for one instruction set by that for another.

namespace lite_rtse {
namespace LITE_RTSE_BUILD {
namespace {

// Read the files in the order below: each file uses those before it. To understand one operator, read the first two
// groups and then the operator's own group. Each operator's files end with the two functions that the table names.
//
// clang-format off
// Vectors and elementary functions, the layout of data, and the division of time into tasks.
#include "settings.inl"
#include "simd.inl"
#include "elementary.inl"
#include "rows.inl"
#include "segments.inl"
// The micro-kernels, the layout of weights that they read, and frames of a tensor as what they read.
#include "depthwise.inl"
#include "pointwise.inl"
#include "packing.inl"
#include "sources.inl"
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
// norm_prelu, which needs only the first two groups.
#include "norm_prelu.inl"
// pointwise_conv, on the dense product.
#include "dense.inl"
#include "dense_results.inl"
#include "pointwise_conv.inl"
// lstm, which needs the dense product.
#include "lstm_cell.inl"
#include "lstm.inl"
#include "lstm_backward.inl"
// gru, for many sequences and for a few. It needs the dense product, too.
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

}  // namespace

extern const Kernels table;
#define LITE_RTSE_ENTRIES(name, Struct) , name, name##_backward
const Kernels table = {LITE_RTSE_BUILD_NAME, fma_peak, cascade_rate LITE_RTSE_OPERATORS(LITE_RTSE_ENTRIES)};
#undef LITE_RTSE_ENTRIES

}  // namespace LITE_RTSE_BUILD
}  // namespace lite_rtse
