#include "norm_prelu.cuh"

namespace lite_rtse::cuda {
namespace {

constexpr int64_t kStatistics = 2, kGradients = 3;  // sums of a part

template <class T>
NormTensors<T> tensors(const NormPreluArgs& a, const NormPreluPlan& plan, void* workspace) {
  using C = Compute<T>;
  NormTensors<T> t{};
  const auto input = [](const void* p) { return static_cast<const T*>(p); };
  t.batch = a.batch, t.channels = a.channels, t.points = a.points;
  t.utterances = plan.utterances, t.pieces = plan.pieces, t.parts = plan.parts;
  t.x = input(a.x), t.weight = input(a.weight), t.bias = input(a.bias), t.slope = input(a.slope);
  t.mean = input(a.mean), t.var = input(a.var), t.slope_each = a.slopes > 1;
  t.eps = C(a.eps), t.statistics = static_cast<C*>(a.statistics), t.result = static_cast<T*>(a.y);
  t.constants = static_cast<NormConstants<C>*>(workspace);
  t.slope_sums = static_cast<C*>(workspace) + NormPreluPlan::kConstants * a.channels;
  t.partial = t.slope_sums + a.channels;
  static_assert(sizeof(NormConstants<C>) == NormPreluPlan::kConstants * sizeof(C));
  return t;
}

// The divisor of the last pass. It is not used if a channel of an utterance is longer than a block's numbers.
Divisor divisor(const NormPreluArgs& a) {
  return Divisor(a.points > 0 && a.points <= NormPreluPlan::kChunk ? a.points : 1);
}

}  // namespace

size_t workspace(const NormPreluArgs& a, const Device&) {
  return size_t(NormPreluPlan(a).workspace(a, a.mean ? 0 : kStatistics));
}
size_t workspace(const NormPreluBackwardArgs& a, const Device&) {
  return size_t(NormPreluPlan(a.forward).workspace(a.forward, a.needs_sums() ? kGradients : 0));
}

cudaError_t launch(const NormPreluArgs& a, const Device&, void* workspace, cudaStream_t stream) {
  const NormPreluPlan plan(a);
  return with_storage_type(a.dtype, [&]<class T>() {
    const NormTensors<T> t = tensors<T>(a, plan, workspace);
    return in_order([&] { return a.mean ? cudaSuccess : enqueue(plan.sums, stream, norm_statistics<T>, t); },
                    [&] { return enqueue(plan.finish, stream, norm_statistics_finish<T>, t); },
                    [&] { return enqueue(plan.apply, stream, norm_apply<T, false>, t, divisor(a)); });
  });
}

cudaError_t launch(const NormPreluBackwardArgs& a, const Device&, void* workspace, cudaStream_t stream) {
  const NormPreluArgs& f = a.forward;
  const NormPreluPlan plan(f);
  const bool each = f.slopes != 1;
  const Gradient slope{0, f.slopes, a.dslope};
  return with_storage_type(f.dtype, [&]<class T>() {
    NormTensors<T> t = tensors<T>(f, plan, workspace);
    t.dy = static_cast<const T*>(a.dy), t.result = static_cast<T*>(a.dx);
    t.dweight = static_cast<T*>(a.dweight), t.dbias = static_cast<T*>(a.dbias);
    t.batch_statistics = a.batch_statistics;
    if (!a.needs_sums()) t.parts = 0;  // the sums of no parts are zeros
    return in_order(
        [&] { return a.needs_sums() ? enqueue(plan.sums, stream, norm_gradients<T>, t) : cudaSuccess; },
        [&] { return enqueue(plan.finish, stream, norm_gradients_finish<T>, t); },
        [&] {
          return each ? reduce<T>(t.slope_sums, 1, f.channels, &slope, 1, stream)
                      : reduce<T>(t.slope_sums, f.channels, 1, &slope, 1, stream);
        },
        [&] { return a.dx ? enqueue(plan.apply, stream, norm_apply<T, true>, t, divisor(f)) : cudaSuccess; });
  });
}

}  // namespace lite_rtse::cuda
