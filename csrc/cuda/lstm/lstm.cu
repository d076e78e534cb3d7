#include "lstm.cuh"

namespace lite_rtse::cuda {
namespace {

LstmPlan plan_of(const LstmRecurrenceArgs& a, const Device& device) { return {a.dtype, a.batch, a.units, device}; }

// Calls f.operator()<T>() with the storage type of `dtype`. There are no kernels for float64.
template <class F>
cudaError_t with_kernel_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return cudaErrorInvalidValue;
    case DType::f32: return f.template operator()<float>();
    case DType::f16: return f.template operator()<__half>();
    case DType::bf16: break;
  }
  return f.template operator()<__nv_bfloat16>();
}

}  // namespace

bool lstm_fits(DType dtype, int64_t units, const Device& device) { return LstmPlan(dtype, 1, units, device).fits(); }

size_t workspace(const LstmRecurrenceArgs& a, const Device& device) {
  return size_t(plan_of(a, device).counter_bytes());
}
size_t workspace(const LstmRecurrenceBackwardArgs& a, const Device& device) { return workspace(a.forward, device); }

cudaError_t launch(const LstmRecurrenceArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  return with_kernel_type(a.dtype, [&]<class T>() {
    return enqueue_groups(plan_of(a, device), lstm_forward<T, MeetsByCounter>, lstm_forward<T, MeetsByCluster>, a,
                          workspace, stream);
  });
}
cudaError_t launch(const LstmRecurrenceBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  return with_kernel_type(a.forward.dtype, [&]<class T>() {
    return enqueue_groups(plan_of(a.forward, device), lstm_backward<T, MeetsByCounter>,
                          lstm_backward<T, MeetsByCluster>, a, workspace, stream);
  });
}

}  // namespace lite_rtse::cuda
