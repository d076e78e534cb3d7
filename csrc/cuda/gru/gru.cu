#include "gru_groups.cuh"
#include "gru_lanes.cuh"

namespace lite_rtse::cuda {
namespace {

// The kernel of this number of lanes. None of 32 lanes is made for float64, which has no room for its weights.
template <class T>
auto forward_of(int lanes) {
  if constexpr (sizeof(Compute<T>) == 4)
    if (lanes == 32) return gru_lanes_forward<T, 32>;
  return lanes == 8 ? gru_lanes_forward<T, 8> : gru_lanes_forward<T, 16>;
}
template <class T>
auto backward_of(int lanes) {
  if constexpr (sizeof(Compute<T>) == 4)
    if (lanes == 32) return gru_lanes_backward<T, 32>;
  return lanes == 8 ? gru_lanes_backward<T, 8> : gru_lanes_backward<T, 16>;
}

}  // namespace

bool gru_fits(DType dtype, int64_t units, int64_t directions, const Device& device) {
  return GruPlan(dtype, 1, units, directions, device).fits();
}

size_t workspace(const GruRecurrenceArgs& a, const Device& device) { return size_t(GruPlan(a, device).workspace(a)); }
size_t workspace(const GruRecurrenceBackwardArgs& a, const Device& device) { return workspace(a.forward, device); }

cudaError_t launch(const GruRecurrenceArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const GruPlan plan(a, device);
  return with_storage_type(a.dtype, [&]<class T>() {
    if (plan.lanes) return enqueue(plan.geometry, stream, forward_of<T>(plan.lanes), a);
    return enqueue_groups(plan.groups, gru_groups_forward<T, MeetsByCounter>, gru_groups_forward<T, MeetsByCluster>, a,
                          workspace, stream);
  });
}

cudaError_t launch(const GruRecurrenceBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const GruPlan plan(a.forward, device);
  return with_storage_type(a.forward.dtype, [&]<class T>() {
    if (plan.lanes) return enqueue(plan.geometry, stream, backward_of<T>(plan.lanes), a);
    return enqueue_groups(plan.groups, gru_groups_backward<T, MeetsByCounter>, gru_groups_backward<T, MeetsByCluster>,
                          a, workspace, stream);
  });
}

}  // namespace lite_rtse::cuda
