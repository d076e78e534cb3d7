#include "lstm.cuh"

#include "../common/launch.cuh"

namespace lite_rtse::cuda {
namespace {

LstmPlan plan_of(const LstmRecurrenceArgs& a, const Device& device) { return {a.batch, a.units, device}; }

size_t counters(const LstmPlan& plan) { return size_t(plan.groups) * sizeof(Arrivals); }

template <class Arguments, class Kernel>
cudaError_t enqueue_groups(const Arguments& a, const LstmPlan& plan, Kernel kernel, void* workspace,
                           cudaStream_t stream) {
  if (!plan.fits()) return cudaErrorInvalidConfiguration;
  if (plan.geometry.blocks == 0) return cudaSuccess;
  const LstmGroups groups{int(plan.units), int(plan.blocks), int(plan.groups),
                          int(plan.pitch), plan.chunks,      static_cast<Arrivals*>(workspace)};
  return in_order([&] { return cudaMemsetAsync(workspace, 0, counters(plan), stream); },
                  [&] { return enqueue_together(plan.geometry, stream, kernel, a, groups); });
}

}  // namespace

bool lstm_fits(int64_t units, const Device& device) { return LstmPlan(1, units, device).fits(); }

size_t workspace(const LstmRecurrenceArgs& a, const Device& device) { return counters(plan_of(a, device)); }
size_t workspace(const LstmRecurrenceBackwardArgs& a, const Device& device) { return workspace(a.forward, device); }

cudaError_t launch(const LstmRecurrenceArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  return enqueue_groups(a, plan_of(a, device), lstm_forward, workspace, stream);
}
cudaError_t launch(const LstmRecurrenceBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  return enqueue_groups(a, plan_of(a.forward, device), lstm_backward, workspace, stream);
}

}  // namespace lite_rtse::cuda
