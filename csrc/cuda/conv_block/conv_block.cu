#include "../common/pointwise.cuh"
#include "conv_block_forward.cuh"
#include "conv_block_loops.cuh"

namespace lite_rtse::cuda {
namespace {

template <class T>
cudaError_t forward_fused(const ConvBlockArgs& a, const ConvBlockKernelPlan& plan, cudaStream_t stream) {
  ConvBlockForward<T> arguments{plan.march, static_cast<const T*>(a.x), {}, {}, static_cast<T*>(a.y)};
  for (int i = 0; i < ConvBlockArgs::kParams; ++i) {
    arguments.weight[i] = static_cast<const T*>(a.weight[i]);
    arguments.bias[i] = static_cast<const T*>(a.bias[i]);
  }
  return enqueue(plan.geometry, stream, conv_block_forward<T>, arguments);
}

template <class T>
struct ForwardWorkspace {
  Compute<T>*h, *u, *s;
  size_t bytes;

  ForwardWorkspace(const ConvBlockArgs& a, const ConvBlockLoopsPlan& plan, void* base) {
    WorkspaceArena arena(base);
    for (Compute<T>** p : {&h, &u, &s}) *p = arena.take<Compute<T>>(plan.slice * a.channels * plan.points);
    bytes = arena.used();
  }
};

template <class T>
cudaError_t forward_slice(const ConvBlockArgs& a, const ConvBlockLoopsPlan& plan, const ForwardWorkspace<T>& w,
                          int64_t i, const Device& device, cudaStream_t stream) {
  using C = Compute<T>;
  const int64_t n = plan.utterances(a.batch, i), x_size = a.in_channels * plan.points, size = a.channels * plan.points;
  const T* const x = static_cast<const T*>(a.x) + i * plan.slice * x_size;
  T* const y = static_cast<T*>(a.y) + i * plan.slice * size;
  const auto weight = [&](int k) { return static_cast<const T*>(a.weight[k]); };
  const auto bias = [&](int k) { return static_cast<const T*>(a.bias[k]); };
  const auto from_x = [&](int k, C* to) {
    return launch_pointwise(Pointwise<T, T, C>{n, a.in_channels, a.channels, plan.points, x, x_size, plan.points,
                                               weight(k), false, bias(k), to, size, plan.points, nullptr, nullptr},
                            device, stream);
  };
  const ConvLoops loops{n * a.channels, a.channels, a.frames, a.bins};
  const Geometry geometry{ceil_div(n * size, ConvBlockLoopsPlan::kThreads), ConvBlockLoopsPlan::kThreads, 0};
  return in_order([&] { return from_x(ConvBlockArgs::kIn, w.h); }, [&] { return from_x(ConvBlockArgs::kSkip, w.s); },
                  [&] {
                    return enqueue(geometry, stream, conv_block_depthwise<T>, w.h, weight(ConvBlockArgs::kDw),
                                   bias(ConvBlockArgs::kDw), w.u, false, loops);
                  },
                  [&] {
                    return launch_pointwise(
                        Pointwise<C, T, T>{n, a.channels, a.channels, plan.points, w.u, size, plan.points,
                                           weight(ConvBlockArgs::kOut), false, bias(ConvBlockArgs::kOut), y, size,
                                           plan.points, w.s, nullptr},
                        device, stream);
                  });
}

}  // namespace

size_t workspace(const ConvBlockArgs& a, const Device& device) {
  const ConvBlockPlan plan(a, device);
  if (plan.forward.fits) return 0;
  return with_storage_type(a.dtype, [&]<class T>() { return ForwardWorkspace<T>(a, plan.loops, nullptr).bytes; });
}

cudaError_t launch(const ConvBlockArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const ConvBlockPlan plan(a, device);
  return with_storage_type(a.dtype, [&]<class T>() {
    if constexpr (sizeof(T) < 8)
      if (plan.forward.fits) return forward_fused<T>(a, plan.forward, stream);
    const ForwardWorkspace<T> w(a, plan.loops, workspace);
    cudaError_t error = cudaSuccess;
    for (int64_t i = 0; i < plan.loops.slices && error == cudaSuccess; ++i)
      error = forward_slice<T>(a, plan.loops, w, i, device, stream);
    return error;
  });
}

}  // namespace lite_rtse::cuda
