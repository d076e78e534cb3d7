// What the launch plans take for granted about the kernels' machine code, for callers that are no C++.
#include <cstddef>
#include <iterator>

#include "../../csrc/cuda/common/pointwise.h"
#include "../../csrc/cuda/conv_block/conv_block.h"
#include "../../csrc/cuda/gru/gru.h"
#include "../../csrc/cuda/lstm/lstm.h"
#include "../../csrc/cuda/multi_order_conv/multi_order_conv.h"

namespace {

using namespace lite_rtse;
using namespace lite_rtse::cuda;

struct Assumption {
  const char* kernel;
  int (*registers)(DType);  // at most, a thread
};

constexpr Assumption kAssumptions[] = {
    {"pointwise", [](DType dtype) { return PointwisePlan::registers(compute_size(dtype)); }},
    {"cascade_forward", [](DType) { return kCascadeRegisters; }},
    {"cascade_gradient", [](DType) { return kGradientRegisters; }},
    {"gates_forward", [](DType dtype) { return GatesPlan::registers(dtype, false); }},
    {"gates_backward", [](DType dtype) { return GatesPlan::registers(dtype, true); }},
    {"conv_block_forward", [](DType) { return ConvBlockKernelPlan::registers(ConvBlockPass::forward); }},
    {"conv_block_gradient_out", [](DType) { return ConvBlockKernelPlan::registers(ConvBlockPass::out); }},
    {"conv_block_gradient_in", [](DType) { return ConvBlockKernelPlan::registers(ConvBlockPass::in); }},
    {"lstm_forward", [](DType) { return GroupsPlan::kRegisters; }},
    {"lstm_backward", [](DType) { return GroupsPlan::kRegisters; }},
    {"gru_groups_forward", [](DType) { return GroupsPlan::kRegisters; }},
    {"gru_groups_backward", [](DType) { return GroupsPlan::kRegisters; }},
};

}  // namespace

// The kernel of assumption i, or null behind the last one.
extern "C" const char* plan_kernel(int i) {
  return i < int(std::size(kAssumptions)) ? kAssumptions[i].kernel : nullptr;
}
extern "C" int plan_registers(int i, int dtype) { return kAssumptions[i].registers(DType(dtype)); }

// Rows after which the kernel adds up its sums.
extern "C" int plan_gradient_period() { return kGradientPeriod; }

extern "C" int plan_blocks(const Device* device, int threads, int64_t shared_bytes, int registers) {
  return blocks_per_multiprocessor(*device, threads, shared_bytes, registers);
}
