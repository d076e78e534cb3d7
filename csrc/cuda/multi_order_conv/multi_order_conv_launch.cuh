// Launches that the forward and backward passes of the Multi-Order block share.
#pragma once

#include "../common/pointwise.cuh"
#include "multi_order_conv_cascade.cuh"
#include "multi_order_conv_gates.cuh"

namespace lite_rtse::cuda {

template <class T>
const T* weight_of(const MultiOrderConvArgs& a, int64_t index) {
  return static_cast<const T*>(a.weight[size_t(index)]);
}
template <class T>
const T* bias_of(const MultiOrderConvArgs& a, int64_t index) {
  return static_cast<const T*>(a.bias[size_t(index)]);
}

// Calls f.operator()<K, Band>(). K x K taps are in registers, or on tensor cores; K = 0 selects the kernels with loops.
template <class T, class F>
cudaError_t with_unrolled_taps(const CascadePlan& plan, F&& f) {
  if constexpr (sizeof(T) < sizeof(double)) {  // the same condition as in is_unrolled
    if constexpr (sizeof(T) == 2)
      if (plan.band) return f.template operator()<kBandTaps, true>();
    if (plan.unrolled && plan.march.taps == 7) return f.template operator()<7, false>();
    if (plan.unrolled && plan.march.taps == 3) return f.template operator()<3, false>();
  }
  return f.template operator()<0, false>();
}

template <class T>
DepthwiseStages<T> depthwise_stages(const MultiOrderConvArgs& a) {
  DepthwiseStages<T> stages{};
  for (int64_t k = 0; k < a.stages(); ++k) {
    stages.weight[k] = weight_of<T>(a, a.dw_index(k));
    stages.bias[k] = bias_of<T>(a, a.dw_index(k));
  }
  return stages;
}

// h = in(x) of `utterances` utterances from `begin` on.
template <class T>
cudaError_t input_product(const MultiOrderConvArgs& a, const MultiOrderPlan& plan, int64_t begin, int64_t utterances,
                          Compute<T>* h, const Device& device, cudaStream_t stream) {
  const int64_t x_utterance = a.in_channels * plan.points;
  const T* const x = static_cast<const T*>(a.x) + begin * x_utterance;
  return launch_pointwise(
      Pointwise<T, T, Compute<T>>{utterances, a.in_channels, 2 * a.channels, plan.points, x, x_utterance, plan.points,
                                  weight_of<T>(a, a.in_index()), false, bias_of<T>(a, a.in_index()), h,
                                  2 * a.channels * plan.plane, plan.plane, nullptr, nullptr},
      device, stream);
}

// The plan's march for `utterances` utterances.
inline CascadeMarch march_of(const CascadePlan& plan, int64_t utterances, Geometry& geometry) {
  CascadeMarch march = plan.march;
  march.utterances = utterances;
  geometry = plan.geometry;
  geometry.blocks = utterances * march.deep() * march.segments * march.tiles;
  return march;
}

// u = cascade(h). The march may be that of the backward pass's plan or that of a forward plan.
template <class T>
cudaError_t cascade(const MultiOrderConvArgs& a, const CascadePlan& plan, int64_t plane, int64_t utterances,
                    const Compute<T>* h, Compute<T>* u, int64_t u_utterance, Compute<T>* rings, cudaStream_t stream) {
  Geometry geometry;
  const CascadeMarch march = march_of(plan, utterances, geometry);
  const Cascade<T> arguments{march, depthwise_stages<T>(a),          h, u, 2 * a.channels * plane, u_utterance,
                             plane, plan.in_global ? rings : nullptr};
  return with_unrolled_taps<T>(
      plan, [&]<int K, bool Band>() { return enqueue(geometry, stream, cascade_forward<T, K, Band>, arguments); });
}

// The arguments of the gate chain, except y.
template <class T>
Gates<T> gate_chain(const MultiOrderConvArgs& a, const GatesPlan& plan, int64_t plane, const Compute<T>* h,
                    Compute<T>* u, int64_t u_utterance) {
  Gates<T> gates{};
  gates.channels = a.channels, gates.points = a.frames * a.bins, gates.tiles = plan.tiles;
  gates.stages = int(a.stages()), gates.pitch = plan.pitch;
  for (int64_t k = 0; k < a.stages(); ++k) {
    gates.weight[k] = weight_of<T>(a, a.pw_index(k));
    gates.bias[k] = bias_of<T>(a, a.pw_index(k));
  }
  gates.w_out = weight_of<T>(a, a.out_index()), gates.b_out = bias_of<T>(a, a.out_index());
  gates.p0 = h + (2 * a.channels - a.gate(0)) * plane;
  gates.u = u;
  gates.p0_utterance = 2 * a.channels * plane, gates.u_utterance = u_utterance;
  gates.plane = plane;
  return gates;
}

}  // namespace lite_rtse::cuda
