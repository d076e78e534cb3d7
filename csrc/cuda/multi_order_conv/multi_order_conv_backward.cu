#include "multi_order_conv_gates_backward.cuh"
#include "multi_order_conv_gradient.cuh"
#include "multi_order_conv_launch.cuh"

namespace lite_rtse::cuda {
namespace {

// The backward pass recomputes h and u, with a march of the forward kind.
struct BackwardPlan {
  MultiOrderPlan whole;
  CascadePlan forward;
  PointwiseGradientPlan in, out;
  GateSums gate_sums;
  int64_t depthwise_width;

  BackwardPlan(const MultiOrderConvArgs& f, const Device& device)
      : whole(f, device, true), forward(f, whole.slice, device, false),
        in(whole.slice, f.in_channels, 2 * f.channels, whole.points, device),
        out(whole.slice, f.channels, f.out_channels, whole.points, device), gate_sums{f.channels, int(f.stages())},
        depthwise_width(depthwise_sums(f.channels, int(f.stages()), int(f.taps), int(f.stages()))) {}

  bool fits() const { return whole.fits() && forward.fits; }
  int64_t gate_blocks(int64_t utterances) const {
    return std::min(whole.gates.geometry.blocks, utterances * whole.gates.tiles);
  }
  int64_t gate_rows(int64_t batch) const {
    int64_t rows = 0;
    for (int64_t s = 0; s < whole.slices; ++s) rows += gate_blocks(whole.utterances(batch, s));
    return rows;
  }
};

// The partial sums of all slices. Each slice's rows follow those of the slice before.
template <class T>
struct BackwardWorkspace {
  using C = Compute<T>;
  C *h, *u, *dh, *dq = nullptr;
  C *in, *depthwise, *gates, *out = nullptr, *rings;
  size_t bytes;

  BackwardWorkspace(const MultiOrderConvArgs& f, const BackwardPlan& plan, void* base) {
    const MultiOrderPlan& p = plan.whole;
    WorkspaceArena arena(base);
    h = arena.take<C>(p.slice * 2 * f.channels * p.plane);
    u = arena.take<C>(p.slice * p.deep * p.plane);
    dh = p.in_place ? h : arena.take<C>(p.slice * 2 * f.channels * p.plane);
    in = arena.take<C>(f.batch * plan.in.spans * plan.in.width);
    depthwise = arena.take<C>(f.batch * p.cascade.rows_of_utterance() * plan.depthwise_width);
    gates = arena.take<C>(plan.gate_rows(f.batch) * plan.gate_sums.width());
    rings = arena.take<C>(std::max(p.cascade.ring_numbers(p.slice), plan.forward.ring_numbers(p.slice)));
    if (f.out_channels > 1) {
      dq = arena.take<C>(p.slice * f.channels * p.plane);
      out = arena.take<C>(f.batch * plan.out.spans * plan.out.width);
    }
    bytes = arena.used();
  }
};

template <class T>
class BackwardLaunch {
 public:
  BackwardLaunch(const MultiOrderConvBackwardArgs& a, const BackwardPlan& plan, void* workspace, const Device& device,
                 cudaStream_t stream)
      : a_(a), plan_(plan), w_(a.forward, plan, workspace), device_(device), stream_(stream) {}

  cudaError_t run() const {
    cudaError_t error = cudaSuccess;
    for (int64_t s = 0; s < p_.slices && error == cudaSuccess; ++s) error = run_slice(s);
    return error == cudaSuccess ? reduce_all() : error;
  }

 private:
  using C = Compute<T>;

  cudaError_t run_slice(int64_t s) const {
    const int64_t begin = s * p_.slice, utterances = p_.utterances(f_.batch, s);
    return in_order(
        [&] { return input_product<T>(f_, p_, begin, utterances, w_.h, device_, stream_); },
        [&] { return cascade<T>(f_, plan_.forward, p_.plane, utterances, w_.h, w_.u, u_size(), w_.rings, stream_); },
        [&] { return single() ? cudaSuccess : output_gradient(begin, utterances); },
        [&] { return gates(s, utterances); },
        [&] { return single() || !wants() ? cudaSuccess : output_weight_gradient(begin, utterances); },
        [&] { return stages(begin, utterances); },
        [&] { return a_.dx ? input_gradient(begin, utterances) : cudaSuccess; },
        [&] { return wants() ? input_weight_gradient(begin, utterances) : cudaSuccess; });
  }

  bool single() const { return f_.out_channels == 1; }
  bool wants() const { return a_.wants_parameters(); }
  int64_t h_size() const { return 2 * f_.channels * p_.plane; }
  int64_t u_size() const { return p_.deep * p_.plane; }
  const T* dy(int64_t begin) const { return static_cast<const T*>(a_.dy) + begin * f_.out_channels * p_.points; }

  // dq = W_outᵀ dy
  cudaError_t output_gradient(int64_t begin, int64_t utterances) const {
    return launch_pointwise(
        Pointwise<T, T, C>{utterances, f_.out_channels, f_.channels, p_.points, dy(begin), f_.out_channels * p_.points,
                           p_.points, weight_of<T>(f_, f_.out_index()), true, nullptr, w_.dq, f_.channels * p_.plane,
                           p_.plane, nullptr, nullptr},
        device_, stream_);
  }

  cudaError_t gates(int64_t s, int64_t utterances) const {
    const int64_t begin = s * p_.slice;
    GatesBackward<T> arguments{};
    arguments.chain = gate_chain<T>(f_, p_.gates, p_.plane, w_.h, w_.u, u_size());
    arguments.dy = single() ? dy(begin) : nullptr;
    arguments.dq = single() ? w_.u : w_.dq;
    arguments.dp0 = w_.dh + p_.deep * p_.plane;
    arguments.partial = w_.gates + s * plan_.gate_blocks(p_.slice) * plan_.gate_sums.width();
    arguments.all_tiles = utterances * p_.gates.tiles;
    Geometry geometry = p_.gates.geometry;
    geometry.blocks = plan_.gate_blocks(utterances);
    return enqueue(geometry, stream_, gates_backward<T>, arguments);
  }

  cudaError_t output_weight_gradient(int64_t begin, int64_t utterances) const {
    PointwiseGradientPlan plan = plan_.out;
    plan.rows = utterances * plan.spans;
    return launch_pointwise_gradient<T, C>(
        {utterances, f_.channels, f_.out_channels, p_.points, dy(begin), f_.out_channels * p_.points, p_.points, w_.dq,
         f_.channels * p_.plane, p_.plane},
        plan, w_.out + begin * plan.spans * plan.width, stream_);
  }

  cudaError_t stages(int64_t begin, int64_t utterances) const {
    Geometry geometry;
    const CascadeMarch march = march_of(p_.cascade, utterances, geometry);
    C* const partial = w_.depthwise + begin * p_.cascade.rows_of_utterance() * plan_.depthwise_width;
    const CascadeGradient<T> arguments{march,
                                       depthwise_stages<T>(f_),
                                       w_.h,
                                       w_.u,
                                       w_.dh,
                                       h_size(),
                                       u_size(),
                                       p_.plane,
                                       p_.cascade.in_global ? w_.rings : nullptr,
                                       partial,
                                       plan_.depthwise_width};
    return with_unrolled_taps<T>(p_.cascade, [&]<int K, bool Band>() {
      return enqueue(geometry, stream_, cascade_gradient<T, K, Band>, arguments);
    });
  }

  // dx = W_inᵀ dh
  cudaError_t input_gradient(int64_t begin, int64_t utterances) const {
    const int64_t x_size = f_.in_channels * p_.points;
    return launch_pointwise(
        Pointwise<C, T, T>{utterances, 2 * f_.channels, f_.in_channels, p_.points, w_.dh, h_size(), p_.plane,
                           weight_of<T>(f_, f_.in_index()), true, nullptr, static_cast<T*>(a_.dx) + begin * x_size,
                           x_size, p_.points, nullptr, nullptr},
        device_, stream_);
  }

  cudaError_t input_weight_gradient(int64_t begin, int64_t utterances) const {
    const int64_t x_size = f_.in_channels * p_.points;
    PointwiseGradientPlan plan = plan_.in;
    plan.rows = utterances * plan.spans;
    return launch_pointwise_gradient<C, T>({utterances, f_.in_channels, 2 * f_.channels, p_.points, w_.dh, h_size(),
                                            p_.plane, static_cast<const T*>(f_.x) + begin * x_size, x_size, p_.points},
                                           plan, w_.in + begin * plan.spans * plan.width, stream_);
  }

  // Without data, no gradient is summed: the kernels leave sums that nothing reads.
  cudaError_t reduce_all() const {
    const GateSums& g = plan_.gate_sums;
    std::vector<Gradient> in, depthwise, gates, out;
    both(in, 0, f_.in_channels * 2 * f_.channels, 2 * f_.channels, f_.in_index());
    for (int k = 0; k < g.stages; ++k) {
      const int64_t channels = 2 * f_.channels - g.gate(k), at = depthwise_sums(f_.channels, g.stages, int(f_.taps), k);
      both(depthwise, at, channels * f_.taps * f_.taps, channels, f_.dw_index(k));
      gates.push_back({g.matrix(k), 2 * g.gate(k) * g.gate(k), a_.dweight[size_t(f_.pw_index(k))], g.gate(k)});
      gates.push_back({g.bias(k), 2 * g.gate(k), a_.dbias[size_t(f_.pw_index(k))]});
    }
    if (single())
      both(gates, g.out(), f_.channels, 1, f_.out_index());
    else
      both(out, 0, f_.channels * f_.out_channels, f_.out_channels, f_.out_index());
    const auto sum = [&](const C* partial, int64_t rows, int64_t width, const std::vector<Gradient>& into) {
      return reduce<T>(partial, rows, width, into.data(), int(into.size()), stream_);
    };
    return in_order(
        [&] { return sum(w_.in, f_.batch * plan_.in.spans, plan_.in.width, in); },
        [&] { return sum(w_.depthwise, f_.batch * p_.cascade.rows_of_utterance(), plan_.depthwise_width, depthwise); },
        [&] { return sum(w_.gates, plan_.gate_rows(f_.batch), g.width(), gates); },
        [&] { return sum(w_.out, f_.batch * plan_.out.spans, plan_.out.width, out); });
  }

  // The gradient of a weight, followed by that of its bias.
  void both(std::vector<Gradient>& into, int64_t at, int64_t weights, int64_t biases, int64_t index) const {
    into.push_back({at, weights, a_.dweight[size_t(index)]});
    into.push_back({at + weights, biases, a_.dbias[size_t(index)]});
  }

  const MultiOrderConvBackwardArgs& a_;
  const MultiOrderConvArgs& f_ = a_.forward;
  const BackwardPlan& plan_;
  const MultiOrderPlan& p_ = plan_.whole;
  const BackwardWorkspace<T> w_;
  const Device& device_;
  const cudaStream_t stream_;
};

}  // namespace

size_t workspace(const MultiOrderConvBackwardArgs& a, const Device& device) {
  const BackwardPlan plan(a.forward, device);
  return with_storage_type(a.forward.dtype,
                           [&]<class T>() { return BackwardWorkspace<T>(a.forward, plan, nullptr).bytes; });
}

cudaError_t launch(const MultiOrderConvBackwardArgs& a, const Device& device, void* workspace, cudaStream_t stream) {
  const BackwardPlan plan(a.forward, device);
  if (!plan.fits()) return cudaErrorInvalidConfiguration;
  return with_storage_type(a.forward.dtype,
                           [&]<class T>() { return BackwardLaunch<T>(a, plan, workspace, device, stream).run(); });
}

}  // namespace lite_rtse::cuda
