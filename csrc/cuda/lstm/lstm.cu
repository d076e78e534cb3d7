#include "lstm.cuh"

namespace lite_rtse::cuda {
namespace {

LstmPlan plan_of(const LstmRecurrenceArgs& a, const Device& device) { return {a.batch, a.units, device}; }

}  // namespace

bool lstm_fits(int64_t units, const Device& device) { return LstmPlan(1, units, device).fits(); }

size_t workspace(const LstmRecurrenceArgs& a, const Device& device) {
  return size_t(plan_of(a, device).counter_bytes());
}
size_t workspace(const LstmRecurrenceBackwardArgs& a, const Device& device) { return workspace(a.forward, device); }

cudaError_t launch(const LstmRecurrenceArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  return enqueue_groups(plan_of(a, device), lstm_forward, a, workspace, stream);
}
cudaError_t launch(const LstmRecurrenceBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  return enqueue_groups(plan_of(a.forward, device), lstm_backward, a, workspace, stream);
}

}  // namespace lite_rtse::cuda
