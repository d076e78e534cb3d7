#include "../common/pointwise.cuh"
#include "conv_block_backward.cuh"
#include "conv_block_loops.cuh"

namespace lite_rtse::cuda {
namespace {

constexpr int kIn = ConvBlockArgs::kIn, kDw = ConvBlockArgs::kDw, kOut = ConvBlockArgs::kOut,
              kSkip = ConvBlockArgs::kSkip;

template <class T>
struct FusedWorkspace {
  using C = Compute<T>;
  C *du, *dx_skip, *out, *in;  // out and in are partial sums
  T* dx;                       // if nobody wants it, the kernels still leave it in the workspace
  size_t bytes;

  FusedWorkspace(const ConvBlockBackwardArgs& a, const ConvBlockBackwardPlan& plan, void* base) {
    const ConvBlockArgs& f = a.forward;
    WorkspaceArena arena(base);
    const int64_t points = f.batch * f.frames * f.bins;
    du = arena.take<C>(points * f.channels);
    dx = a.dx ? static_cast<T*>(a.dx) : arena.take<T>(points * f.in_channels);
    if constexpr (std::is_same_v<T, C>)
      dx_skip = dx;
    else
      dx_skip = arena.take<C>(points * f.in_channels);
    out = arena.take<C>(plan.out.geometry.blocks * ConvBlockOutSums(f.in_channels, f.channels).width);
    in = arena.take<C>(plan.in.geometry.blocks * ConvBlockInSums(f.in_channels, f.channels).width);
    bytes = arena.used();
  }
};

template <class T>
cudaError_t backward_fused(const ConvBlockBackwardArgs& a, const ConvBlockBackwardPlan& plan, void* workspace,
                           cudaStream_t stream) {
  const ConvBlockArgs& f = a.forward;
  const FusedWorkspace<T> w(a, plan, workspace);
  const T* const x = static_cast<const T*>(f.x);
  ConvBlockOutGradient<T> out{plan.out.march, x, static_cast<const T*>(a.dy), {}, {}, w.du, w.dx_skip, w.out};
  for (int i = 0; i < ConvBlockArgs::kParams; ++i) {
    out.weight[i] = static_cast<const T*>(f.weight[i]);
    out.bias[i] = static_cast<const T*>(f.bias[i]);
  }
  const ConvBlockInGradient<T> in{plan.in.march, x, out.weight[kIn], out.weight[kDw], w.du, w.dx_skip, w.dx, w.in};
  const int64_t c = f.channels, weights = c * f.in_channels;
  const ConvBlockOutSums o(f.in_channels, c);
  const ConvBlockInSums i(f.in_channels, c);
  const Gradient of_out[] = {{o.out, c * c, a.dweight[kOut]},       {o.skip, weights, a.dweight[kSkip]},
                             {o.dw, c * kConvTaps, a.dweight[kDw]}, {o.dw_bias, c, a.dbias[kDw]},
                             {o.out_bias, c, a.dbias[kOut]},        {o.skip_bias, c, a.dbias[kSkip]}};
  const Gradient of_in[] = {{i.in, weights, a.dweight[kIn]}, {i.in_bias, c, a.dbias[kIn]}};
  return in_order([&] { return enqueue(plan.out.geometry, stream, conv_block_gradient_out<T>, out); },
                  [&] { return enqueue(plan.in.geometry, stream, conv_block_gradient_in<T>, in); },
                  [&] { return reduce<T>(w.out, plan.out.geometry.blocks, o.width, of_out, 6, stream); },
                  [&] { return reduce<T>(w.in, plan.in.geometry.blocks, i.width, of_in, 2, stream); });
}

// The steps one after another. Buffers of a slice, in the compute type: h; u, later dh; s, later dv; v, later ds; du;
// skip's share of dx.
template <class T>
struct LoopsBackward {
  using C = Compute<T>;
  const ConvBlockBackwardArgs& a;
  const ConvBlockArgs& f = a.forward;
  const ConvBlockLoopsPlan& plan;
  const Device& device;
  const cudaStream_t stream;
  const PointwiseGradientPlan square, from_x;  // for dW_out; for dW_in and dW_skip
  const int64_t points = plan.points, c = f.channels, size = c * points, x_size = f.in_channels * points;
  C *h, *u, *s, *v, *du, *dx_skip, *partial_out, *partial_skip, *partial_in, *partial_dw;
  size_t bytes;

  LoopsBackward(const ConvBlockBackwardArgs& backward, const ConvBlockLoopsPlan& loops, const Device& limits,
                void* base, cudaStream_t on)
      : a(backward), plan(loops), device(limits), stream(on),
        square(loops.slice, f.channels, f.channels, loops.points, device),
        from_x(loops.slice, f.in_channels, f.channels, loops.points, device) {
    WorkspaceArena arena(base);
    for (C** p : {&h, &u, &s, &v, &du}) *p = arena.take<C>(plan.slice * size);
    dx_skip = arena.take<C>(plan.slice * x_size);
    partial_out = arena.take<C>(f.batch * square.spans * square.width);
    for (C** p : {&partial_skip, &partial_in}) *p = arena.take<C>(f.batch * from_x.spans * from_x.width);
    partial_dw = arena.take<C>(f.batch * plan.segments * dw_width());
    bytes = arena.used();
  }

  int64_t dw_width() const { return c * (kConvTaps + 1); }
  const T* weight(int k) const { return static_cast<const T*>(f.weight[k]); }
  const T* bias(int k) const { return static_cast<const T*>(f.bias[k]); }
  Geometry each_element(int64_t count) const {
    return {ceil_div(count, ConvBlockLoopsPlan::kThreads), ConvBlockLoopsPlan::kThreads, 0};
  }
  ConvLoops loops(int64_t n) const { return {n * c, c, f.frames, f.bins}; }

  // `to` = a 1x1 convolution of `from` with transposed weights, without bias.
  template <class X, class Y>
  cudaError_t product(int64_t n, int k, bool transposed, int64_t sources, int64_t targets, const X* from, Y* to,
                      const C* addend = nullptr) const {
    return launch_pointwise(
        Pointwise<X, T, Y>{n, sources, targets, points, from, sources * points, points, weight(k), transposed,
                           transposed ? nullptr : bias(k), to, targets * points, points, nullptr, addend},
        device, stream);
  }
  template <class X>
  cudaError_t outer(int64_t begin, int64_t n, PointwiseGradientPlan cut, int64_t sources, const C* g, const X* x,
                    C* partial) const {
    cut.rows = n * cut.spans;
    return launch_pointwise_gradient(
        PointwiseGradient<C, X>{n, sources, c, points, g, size, points, x, sources * points, points}, cut,
        partial + begin * cut.spans * cut.width, stream);
  }

  cudaError_t slice(int64_t i) const {
    const int64_t begin = i * plan.slice, n = plan.utterances(f.batch, i);
    const T *const x = static_cast<const T*>(f.x) + begin * x_size, *const dy =
                                                                        static_cast<const T*>(a.dy) + begin * size;
    T* const dx = a.dx ? static_cast<T*>(a.dx) + begin * x_size : nullptr;
    const bool wants = a.wants_parameters();
    const auto depthwise = [&](const C* from, const T* b, C* to, bool reversed) {
      return enqueue(each_element(n * size), stream, conv_block_depthwise<T>, from, weight(kDw), b, to, reversed,
                     loops(n));
    };
    return in_order([&] { return product(n, kIn, false, f.in_channels, c, x, h); },
                    [&] { return depthwise(h, bias(kDw), u, false); },
                    [&] { return product(n, kSkip, false, f.in_channels, c, x, s); },
                    [&] { return product(n, kOut, false, c, c, u, v); },
                    [&] { return enqueue(each_element(n * size), stream, conv_block_split<T>, dy, s, v, n * size); },
                    [&] { return wants ? outer(begin, n, square, c, s, u, partial_out) : cudaSuccess; },
                    [&] { return wants ? outer(begin, n, from_x, f.in_channels, v, x, partial_skip) : cudaSuccess; },
                    [&] { return product(n, kOut, true, c, c, s, du); },
                    [&] { return wants ? taps(begin, n) : cudaSuccess; },
                    [&] { return depthwise(du, nullptr, u, true); },
                    [&] { return wants ? outer(begin, n, from_x, f.in_channels, u, x, partial_in) : cudaSuccess; },
                    [&] { return a.dx ? product(n, kSkip, true, c, f.in_channels, v, dx_skip) : cudaSuccess; },
                    [&] { return a.dx ? product(n, kIn, true, c, f.in_channels, u, dx, dx_skip) : cudaSuccess; });
  }

  // The sums for dW_dw and its bias.
  cudaError_t taps(int64_t begin, int64_t n) const {
    const Geometry geometry{n * plan.segments * c, ConvBlockLoopsPlan::kThreads, 0};
    return enqueue(geometry, stream, conv_block_taps<C>, du, h, partial_dw + begin * plan.segments * dw_width(),
                   plan.segment, plan.segments, loops(n));
  }

  // dW and db of a 1x1 convolution.
  cudaError_t finish(const C* partial, const PointwiseGradientPlan& cut, int64_t sources, int k) const {
    const Gradient gradients[] = {{0, c * sources, a.dweight[k]}, {c * sources, c, a.dbias[k]}};
    return reduce<T>(partial, f.batch * cut.spans, cut.width, gradients, 2, stream);
  }

  cudaError_t run() const {
    cudaError_t error = cudaSuccess;
    for (int64_t i = 0; i < plan.slices && error == cudaSuccess; ++i) error = slice(i);
    if (error != cudaSuccess) return error;
    const Gradient dw[] = {{0, c * kConvTaps, a.dweight[kDw]}, {c * kConvTaps, c, a.dbias[kDw]}};
    return in_order([&] { return finish(partial_out, square, c, kOut); },
                    [&] { return finish(partial_skip, from_x, f.in_channels, kSkip); },
                    [&] { return finish(partial_in, from_x, f.in_channels, kIn); },
                    [&] { return reduce<T>(partial_dw, f.batch * plan.segments, dw_width(), dw, 2, stream); });
  }
};

}  // namespace

size_t workspace(const ConvBlockBackwardArgs& a, const Device& device) {
  const ConvBlockBackwardPlan plan(a.forward, device);
  return with_storage_type(a.forward.dtype, [&]<class T>() {
    return plan.fits() ? FusedWorkspace<T>(a, plan, nullptr).bytes
                       : LoopsBackward<T>(a, plan.loops, device, nullptr, nullptr).bytes;
  });
}

cudaError_t launch(const ConvBlockBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const ConvBlockBackwardPlan plan(a.forward, device);
  return with_storage_type(a.forward.dtype, [&]<class T>() {
    if constexpr (sizeof(T) < 8)
      if (plan.fits()) return backward_fused<T>(a, plan, workspace, stream);
    return LoopsBackward<T>(a, plan.loops, device, workspace, stream).run();
  });
}

}  // namespace lite_rtse::cuda
