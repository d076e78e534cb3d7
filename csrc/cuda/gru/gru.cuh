// What both kinds of kernels of a GRU's recurrence share: one direction's tensors, and the formulas of one unit.
#pragma once

#include "../common/groups.cuh"
#include "gru.h"

namespace lite_rtse::cuda {

inline constexpr int kGruGates = GruPlan::kGates;
// Gates, and values that the forward pass keeps.
inline constexpr int kReset = 0, kUpdate = 1, kNew = 2, kNewState = 3;

// The tensors of one direction. A row is a frame of a sequence.
template <class T>
struct GruDirection {
  using C = Compute<T>;
  int64_t batch, frames, units, outputs;
  bool reverse;
  const C* input;
  const T *weight_hh, *bias_ih, *bias_hh, *h0;
  T* y;
  C* kept;

  __device__ GruDirection(const GruRecurrenceArgs& a, int d)
      : batch(a.batch), frames(a.frames), units(a.units), outputs(a.directions * a.units), reverse(d == 1),
        input(static_cast<const C*>(of(a.input, d))), weight_hh(static_cast<const T*>(of(a.weight_hh, d))),
        bias_ih(static_cast<const T*>(of(a.bias_ih, d))), bias_hh(static_cast<const T*>(of(a.bias_hh, d))),
        h0(a.h0 ? static_cast<const T*>(a.h0) + d * batch * units : nullptr), y(static_cast<T*>(a.y) + d * units),
        kept(a.kept ? static_cast<C*>(a.kept) + d * RecurrentArgs::kKeptValues * units * frames * batch : nullptr) {}

  template <class Pointer>
  __device__ static Pointer of(Pointer const (&pointers)[GruRecurrenceArgs::kMostDirections], int d) {
    return d ? pointers[1] : pointers[0];
  }

  __device__ int64_t row(int64_t sequence, int64_t step) const {
    return sequence * frames + (reverse ? frames - 1 - step : step);
  }
  // h before the first frame.
  __device__ C state(int64_t sequence, int64_t unit) const {
    return h0 && sequence < batch && unit < units ? C(to_compute(h0[sequence * units + unit])) : C(0);
  }
  // h before this step.
  __device__ C before(int64_t sequence, int64_t step, int64_t unit) const {
    return step > 0 ? C(to_compute(y[row(sequence, step - 1) * outputs + unit])) : state(sequence, unit);
  }
  __device__ C bias(const T* biases, int64_t at) const { return biases ? C(to_compute(biases[at])) : C(0); }
};

// The same of the backward pass.
template <class T>
struct GruGradients {
  using C = Compute<T>;
  const T* dy;
  C *dinput, *dstate, *before;
  T* dh0;

  __device__ GruGradients(const GruRecurrenceBackwardArgs& a, int d)
      : dy(static_cast<const T*>(a.dy) + d * a.forward.units),
        dinput(static_cast<C*>(GruDirection<T>::of(a.dinput, d))),
        dstate(static_cast<C*>(GruDirection<T>::of(a.dstate, d))),
        before(static_cast<C*>(GruDirection<T>::of(a.before, d))),
        dh0(a.dh0 ? static_cast<T*>(a.dh0) + d * a.forward.batch * a.forward.units : nullptr) {}
};

// What the backward pass reads of one unit and frame.
template <class C>
struct GruKept {
  C r, z, n, state, before, dy;  // state: W_hn h with its bias

  template <class T>
  __device__ void read(const GruDirection<T>& a, const GruGradients<T>& g, int64_t sequence, int64_t step, int unit) {
    const int64_t row = a.row(sequence, step);
    const C* const kept = a.kept + row * RecurrentArgs::kKeptValues * a.units + unit;
    r = kept[kReset * a.units], z = kept[kUpdate * a.units], n = kept[kNew * a.units];
    state = kept[kNewState * a.units];
    before = a.before(sequence, step, unit), dy = to_compute(g.dy[row * a.outputs + unit]);
  }
};

// The gradients of one unit at one frame, for the gradient dh of its h.
template <class C>
struct GruCell {
  C dstate[kGruGates], dinput, direct;  // dinput: of the third gate; of the others it is that of the state

  __device__ GruCell(const GruKept<C>& k, C dh) {
    const C by_n = dh * (1 - k.z) * (1 - k.n * k.n);
    dstate[kReset] = by_n * k.state * k.r * (1 - k.r);
    dstate[kUpdate] = dh * (k.before - k.n) * k.z * (1 - k.z);
    dstate[kNew] = by_n * k.r;
    dinput = by_n, direct = dh * k.z;
  }

  template <class T>
  __device__ void write(const GruDirection<T>& a, const GruGradients<T>& g, int64_t row, int unit, C h_before) const {
    C *const by_input = g.dinput + row * kGruGates * a.units + unit, *const by_state =
                                                                         g.dstate + row * kGruGates * a.units + unit;
    by_input[0] = by_state[0] = dstate[kReset], by_input[a.units] = by_state[a.units] = dstate[kUpdate];
    by_input[2 * a.units] = dinput, by_state[2 * a.units] = dstate[kNew];
    g.before[row * a.units + unit] = h_before;
  }
};

}  // namespace lite_rtse::cuda
