#include "causal_dwconv2d.cuh"

namespace lite_rtse::cuda {
namespace {

DwconvMarch march(const CausalDwconv2dArgs& a, const CausalDwconv2dPlan& plan) {
  return {a.channels,      a.frames,     int(a.bins),   int(plan.rows),
          int(plan.pitch), plan.segment, plan.segments, Divisor(a.bins)};
}
DwconvLoops loops(const CausalDwconv2dArgs& a) {
  return {a.batch * a.channels, a.channels, a.frames, a.bins, a.taps_t, a.taps_f, a.dilation};
}

// Computes y from x, or with `reversed` dx from dy.
template <class T>
cudaError_t convolve(const CausalDwconv2dArgs& a, const CausalDwconv2dPlan& plan, bool reversed, const void* from,
                     const void* bias, void* to, cudaStream_t stream) {
  const T *x = static_cast<const T*>(from), *w = static_cast<const T*>(a.weight), *b = static_cast<const T*>(bias);
  T* const y = static_cast<T*>(to);
  if (plan.convolve.blocks == 0) return cudaSuccess;
  if (plan.rows == 0) return enqueue(plan.convolve, stream, dwconv_convolve_loops<T>, x, w, b, y, reversed, loops(a));
  const auto kernel = a.taps_t == 3 ? dwconv_convolve<T, 3> : dwconv_convolve<T, 7>;
  return enqueue(plan.convolve, stream, kernel, x, w, b, y, reversed, march(a, plan));
}

template <class T>
cudaError_t weight_gradient(const CausalDwconv2dBackwardArgs& a, const CausalDwconv2dPlan& plan, Compute<T>* partial,
                            cudaStream_t stream) {
  const CausalDwconv2dArgs& f = a.forward;
  const T *x = static_cast<const T*>(f.x), *dy = static_cast<const T*>(a.dy);
  if (plan.gradient.blocks == 0) return cudaSuccess;
  if (plan.rows == 0)
    return enqueue(plan.gradient, stream, dwconv_weight_gradient_loops<T>, x, dy, partial, plan.segment, plan.segments,
                   loops(f));
  const auto kernel = f.taps_t == 3 ? dwconv_weight_gradient<T, 3> : dwconv_weight_gradient<T, 7>;
  return enqueue(plan.gradient, stream, kernel, x, dy, partial, plan.partial_width, march(f, plan));
}

}  // namespace

size_t workspace(const CausalDwconv2dArgs&, const Device&) { return 0; }

size_t workspace(const CausalDwconv2dBackwardArgs& a, const Device& device) {
  if (!a.wants_parameters()) return 0;
  const CausalDwconv2dPlan plan(a.forward, device);
  return size_t(plan.partial_rows * plan.partial_width * compute_size(a.forward.dtype));
}

cudaError_t launch(const CausalDwconv2dArgs& a, const Device& device, void*, cudaStream_t stream) {
  const CausalDwconv2dPlan plan(a, device);
  return with_storage_type(a.dtype, [&]<class T>() { return convolve<T>(a, plan, false, a.x, a.bias, a.y, stream); });
}

cudaError_t launch(const CausalDwconv2dBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const CausalDwconv2dPlan plan(a.forward, device);
  const int64_t taps = a.forward.channels * a.forward.taps_t * a.forward.taps_f;
  const Gradient gradients[] = {{0, taps, a.dweight}, {taps, a.forward.channels, a.dbias}};
  return with_storage_type(a.forward.dtype, [&]<class T>() {
    Compute<T>* const partial = static_cast<Compute<T>*>(workspace);
    return in_order(
        [&] { return a.dx ? convolve<T>(a.forward, plan, true, a.dy, nullptr, a.dx, stream) : cudaSuccess; },
        [&] { return a.wants_parameters() ? weight_gradient<T>(a, plan, partial, stream) : cudaSuccess; },
        [&] { return reduce<T>(partial, plan.partial_rows, plan.partial_width, gradients, 2, stream); });
  });
}

}  // namespace lite_rtse::cuda
