#include "../common/launch.cuh"
#include "mask_residual.cuh"

namespace lite_rtse::cuda {
namespace {

template <class T>
SpectrogramView<const T> input_view(const Spectrogram& s) {
  return {static_cast<const T*>(s.data), s.batch_stride, s.bin_stride, s.frame_stride, s.part_stride};
}
template <class T>
SpectrogramView<T> output_view(const Spectrogram& s) {
  return {static_cast<T*>(const_cast<void*>(s.data)), s.batch_stride, s.bin_stride, s.frame_stride, s.part_stride};
}

template <class T>
MaskArguments<T> arguments(const MaskResidualArgs& a, const Spectrogram& y) {
  const auto head = [](const void* p) { return static_cast<const T*>(p); };
  MaskArguments<T> arguments{};
  arguments.frames = a.frames, arguments.bins = a.bins;
  arguments.head[kLogit] = head(a.logit), arguments.head[kResMag] = head(a.res_mag);
  arguments.head[kResReal] = head(a.res_real), arguments.head[kResImag] = head(a.res_imag);
  arguments.x = input_view<T>(a.x), arguments.y = output_view<T>(y);
  return arguments;
}

template <class T, bool Backward>
cudaError_t enqueue_plan(const MaskResidualPlan& plan, const MaskArguments<T>& a, cudaStream_t stream) {
  if (plan.geometry.blocks == 0) return cudaSuccess;
  if (plan.in_order)
    return enqueue(plan.geometry, stream, mask_residual_rows<T, Backward>, a, plan.rows, plan.batches, plan.length,
                   plan.slots);
  const int64_t last_bins = a.bins - (plan.tiles_in_bins - 1) * plan.tile_bins;
  const MaskTiling tiling{plan.tiles_in_time, plan.tiles_in_bins,  plan.tile_bins,          plan.slot_pitch,
                          plan.pitch,         Divisor(plan.slots), Divisor(plan.tile_bins), Divisor(last_bins)};
  return enqueue(plan.geometry, stream, mask_residual_tiles<T, Backward>, a, tiling);
}

}  // namespace

size_t workspace(const MaskResidualArgs&, const Device&) { return 0; }
size_t workspace(const MaskResidualBackwardArgs&, const Device&) { return 0; }

cudaError_t launch(const MaskResidualArgs& a, const Device&, void*, cudaStream_t stream) {
  const MaskResidualPlan plan(a, {a.y});
  return with_storage_type(a.dtype,
                           [&]<class T>() { return enqueue_plan<T, false>(plan, arguments<T>(a, a.y), stream); });
}

cudaError_t launch(const MaskResidualBackwardArgs& a, const Device&, void*, cudaStream_t stream) {
  const MaskResidualPlan plan(a.forward, {a.dy, a.dx});
  return with_storage_type(a.forward.dtype, [&]<class T>() {
    MaskArguments<T> all = arguments<T>(a.forward, a.dx);
    all.d = input_view<T>(a.dy);
    all.dhead[kLogit] = static_cast<T*>(a.dlogit), all.dhead[kResMag] = static_cast<T*>(a.dres_mag);
    all.dhead[kResReal] = static_cast<T*>(a.dres_real), all.dhead[kResImag] = static_cast<T*>(a.dres_imag);
    return enqueue_plan<T, true>(plan, all, stream);
  });
}

}  // namespace lite_rtse::cuda
