#include "multi_order_conv_launch.cuh"

namespace lite_rtse::cuda {
namespace {

template <class T>
struct ForwardWorkspace {
  using C = Compute<T>;
  C *h, *u, *rings;
  size_t bytes;

  ForwardWorkspace(const MultiOrderConvArgs& a, const MultiOrderPlan& plan, void* base) {
    WorkspaceArena arena(base);
    h = arena.take<C>(plan.slice * 2 * a.channels * plan.plane);
    u = plan.in_place ? h : arena.take<C>(plan.slice * plan.deep * plan.plane);
    rings = arena.take<C>(plan.cascade.ring_numbers(plan.slice));
    bytes = arena.used();
  }
};

template <class T>
cudaError_t forward_slice(const MultiOrderConvArgs& a, const MultiOrderPlan& plan, const ForwardWorkspace<T>& w,
                          int64_t s, const Device& device, cudaStream_t stream) {
  const int64_t begin = s * plan.slice, utterances = plan.utterances(a.batch, s);
  const int64_t h_utterance = 2 * a.channels * plan.plane;
  const int64_t u_utterance = plan.in_place ? h_utterance : plan.deep * plan.plane;
  T* const y = static_cast<T*>(a.y) + begin * a.out_channels * plan.points;
  Gates<T> gates = gate_chain<T>(a, plan.gates, plan.plane, w.h, w.u, u_utterance);
  gates.y = a.out_channels == 1 ? y : nullptr;
  Geometry geometry = plan.gates.geometry;
  geometry.blocks = utterances * plan.gates.tiles;
  return in_order(
      [&] { return input_product<T>(a, plan, begin, utterances, w.h, device, stream); },
      [&] { return cascade<T>(a, plan.cascade, plan.plane, utterances, w.h, w.u, u_utterance, w.rings, stream); },
      [&] { return enqueue(geometry, stream, gates_forward<T>, gates); },
      [&] {
        if (a.out_channels == 1) return cudaSuccess;
        const T *weight = weight_of<T>(a, a.out_index()), *bias = bias_of<T>(a, a.out_index());
        return launch_pointwise(
            Pointwise<Compute<T>, T, T>{utterances, a.channels, a.out_channels, plan.points, w.u, u_utterance,
                                        plan.plane, weight, false, bias, y, a.out_channels * plan.points, plan.points,
                                        nullptr, nullptr},
            device, stream);
      });
}

}  // namespace

size_t workspace(const MultiOrderConvArgs& a, const Device& device) {
  const MultiOrderPlan plan(a, device, false);
  return with_storage_type(a.dtype, [&]<class T>() { return ForwardWorkspace<T>(a, plan, nullptr).bytes; });
}

cudaError_t launch(const MultiOrderConvArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const MultiOrderPlan plan(a, device, false);
  if (!plan.fits()) return cudaErrorInvalidConfiguration;
  return with_storage_type(a.dtype, [&]<class T>() {
    const ForwardWorkspace<T> w(a, plan, workspace);
    cudaError_t error = cudaSuccess;
    for (int64_t s = 0; s < plan.slices && error == cudaSuccess; ++s)
      error = forward_slice<T>(a, plan, w, s, device, stream);
    return error;
  });
}

}  // namespace lite_rtse::cuda
