// Kernels of the reconstruction, forward and backward: S = a r X with a = R_mag (1 - M) + M, M = sigmoid(logit), r = R
// / |R|. csrc/cpu/mask_residual.inl derives the formulas.
#pragma once

#include <cfloat>

#include "../common/flat.cuh"
#include "mask_residual.h"

namespace lite_rtse::cuda {

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return sqrt(x); }

// The code contracts every sum of products explicitly instead of leaving it to the compiler. Two kernels share this
// arithmetic, and both must compute the same numbers.
__device__ __forceinline__ float fused(float x, float y, float z) { return fmaf(x, y, z); }
__device__ __forceinline__ double fused(double x, double y, double z) { return fma(x, y, z); }
__device__ __forceinline__ float plus_one(float x) { return __fadd_rn(1.0f, x); }
__device__ __forceinline__ double plus_one(double x) { return __dadd_rn(1.0, x); }

template <class C>
struct ComplexGain {
  C mask, rest;      // M and 1 - M, each to full relative precision
  C amount;          // a
  C real, imag;      // r
  C inverse, scale;  // 1 / |R| = inverse * scale; inverse is 0 where R = 0
};

template <class C>
__device__ __forceinline__ C clamp_finite(C x) {
  constexpr C kMost = sizeof(C) == 8 ? C(DBL_MAX) : C(FLT_MAX);
  return x > kMost ? kMost : x < -kMost ? -kMost : x;
}

// R is scaled by a power of two before it is squared, so that the square neither overflows nor underflows. 1 / |R|
// itself may overflow, so its two factors stay separate. Infinite parts count as the largest finite ones. The
// comparisons keep a NaN a NaN; fmax would lose it.
template <class C>
__device__ __forceinline__ ComplexGain<C> complex_gain(C logit, C res_mag, C re, C im) {
  constexpr bool kDouble = sizeof(C) == 8;
  constexpr C kTiny = kDouble ? C(0x1p-400) : C(0x1p-50f), kHuge = 1 / kTiny;
  constexpr C kUp = kDouble ? C(0x1p600) : C(0x1p90f), kDown = 1 / kUp;
  constexpr C kLeast = kDouble ? C(-708) : C(-87);  // exp of it is barely a normal number
  ComplexGain<C> g;
  const C x = logit > 0 ? -logit : logit;
  const C e = exponential(x < kLeast ? kLeast : x);
  const C larger = 1 / plus_one(e), smaller = e * larger;
  g.mask = logit > 0 ? larger : smaller;
  g.rest = logit > 0 ? smaller : larger;
  g.amount = fused(res_mag, g.rest, g.mask);
  re = clamp_finite(re);
  im = clamp_finite(im);
  const C abs_re = re < 0 ? -re : re, abs_im = im < 0 ? -im : im;
  const C larger_part = abs_re > abs_im ? abs_re : abs_im;
  g.scale = larger_part < kTiny ? kUp : larger_part > kHuge ? kDown : C(1);
  re *= g.scale;
  im *= g.scale;
  const C square = fused(re, re, im * im);
  const bool zero = square == 0;
  const C inverse = 1 / square_root(zero ? C(1) : square);
  g.real = zero ? C(1) : re * inverse;
  g.imag = im * inverse;
  g.inverse = zero ? C(0) : inverse;
  return g;
}

template <class C>
struct ComplexOf {
  C real, imag;
};
template <class C>
__device__ __forceinline__ ComplexOf<C> product(ComplexOf<C> x, ComplexOf<C> y) {
  return {fused(x.real, y.real, -(x.imag * y.imag)), fused(x.real, y.imag, x.imag * y.real)};
}

enum MaskHead : int { kLogit, kResMag, kResReal, kResImag, kMaskHeads };

// With G = dS: `x` becomes dX, and gradient[i] becomes the gradient of head i.
template <class C>
__device__ __forceinline__ void differentiate(const ComplexGain<C>& g, C res_mag, ComplexOf<C>& x, ComplexOf<C> d,
                                              C (&gradient)[kMaskHeads]) {
  const ComplexOf<C> r{g.real, g.imag}, r_conj{g.real, -g.imag};
  const ComplexOf<C> u = product(r, x), turned = product({u.real, -u.imag}, d), dx = product(r_conj, d);
  const C da = turned.real, turn = g.amount * turned.imag * g.inverse * g.scale;
  x = {g.amount * dx.real, g.amount * dx.imag};
  gradient[kLogit] = da * (1 - res_mag) * g.mask * g.rest;
  gradient[kResMag] = da * g.rest;
  gradient[kResReal] = -turn * g.imag;
  gradient[kResImag] = turn * g.real;
}

// A spectrogram's data and strides, in elements.
template <class T>
struct SpectrogramView {
  T* data;
  int64_t batch, bin, frame, part;
};

template <class T>
struct MaskArguments {
  int64_t frames, bins;
  const T* head[kMaskHeads];
  T* dhead[kMaskHeads];           // backward only; null if they are not wanted
  SpectrogramView<const T> x, d;  // d: dS, backward only
  SpectrogramView<T> y;           // S, or dX, whose data is null if it is not wanted

  // The gradient of X does not depend on X itself.
  __device__ __forceinline__ bool needs_x(bool backward) const { return !backward || dhead[0]; }
};

template <class T>
inline constexpr int kSlot = kWidest<T>;  // points of a slot, which is 16 bytes of a head

// Points [first + begin, first + end) of a row.
struct SlotPlace {
  int64_t first;
  int begin, end;
};
// Slot `slot` of the row at `row`. A row's slots begin at multiples of 16 bytes.
template <class T>
__device__ __forceinline__ SlotPlace slot_place(const T* row, int64_t slot, int64_t length) {
  constexpr int W = kSlot<T>;
  const int behind_boundary = int(reinterpret_cast<uintptr_t>(row) % 16 / sizeof(T));
  const int64_t first = slot * W - behind_boundary, left = length - first;
  return {first, int(first < 0 ? -first : 0), int(left < W ? left : W)};
}

// Loads elements [begin, end) of the N at p; the others become zeros. It uses one access if all are wanted and the
// address allows it.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_some(const T* __restrict__ p, int begin, int end) {
  if (begin <= 0 && end >= N && reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, N>) == 0) return load_pack<N>(p);
  Pack<T, N> read;
#pragma unroll
  for (int k = 0; k < N; ++k) read.at[k] = k >= begin && k < end ? p[k] : from_compute<T>(Compute<T>(0));
  return read;
}
template <int N, class T>
__device__ __forceinline__ void store_some(T* __restrict__ p, const Pack<T, N>& value, int begin, int end) {
  if (begin <= 0 && end >= N && reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, N>) == 0)
    return store_global_pack<N>(p, value);
#pragma unroll
  for (int k = 0; k < N; ++k)
    if (k >= begin && k < end) p[k] = value.at[k];
}

// Computes the points of one slot of a row whose heads begin at element `row`. read(k) and read_d(k) return X and dS of
// point k. put(k, value) takes S or dX. They are also called for points that do not exist.
template <bool Backward, class T, class Read, class ReadD, class Put>
__device__ __forceinline__ void mask_slot(const MaskArguments<T>& a, int64_t row, const SlotPlace& at, Read&& read,
                                          ReadD&& read_d, Put&& put) {
  using C = Compute<T>;
  constexpr int W = kSlot<T>;
  Pack<T, W> head[kMaskHeads], dhead[kMaskHeads];
  ComplexOf<C> x[W], d[W];
#pragma unroll
  for (int k = 0; k < W; ++k) {
    x[k] = read(k);
    if constexpr (Backward) d[k] = read_d(k);
  }
#pragma unroll
  for (int i = 0; i < kMaskHeads; ++i) head[i] = load_some<W>(a.head[i] + row + at.first, at.begin, at.end);
#pragma unroll
  for (int k = 0; k < W; ++k) {
    const C res_mag = to_compute(head[kResMag].at[k]);
    const ComplexGain<C> g = complex_gain<C>(to_compute(head[kLogit].at[k]), res_mag, to_compute(head[kResReal].at[k]),
                                             to_compute(head[kResImag].at[k]));
    if constexpr (Backward) {
      C gradient[kMaskHeads];
      differentiate(g, res_mag, x[k], d[k], gradient);
#pragma unroll
      for (int i = 0; i < kMaskHeads; ++i) dhead[i].at[k] = from_compute<T>(gradient[i]);
    } else {
      x[k] = product({g.amount * g.real, g.amount * g.imag}, x[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < W; ++k) put(k, x[k]);
  if constexpr (Backward) {
    if (!a.dhead[0]) return;
#pragma unroll
    for (int i = 0; i < kMaskHeads; ++i) store_some<W>(a.dhead[i] + row + at.first, dhead[i], at.begin, at.end);
  }
}

// 2 W elements: the real and imaginary parts of a slot's points.
template <class T>
struct SlotParts {
  static constexpr int W = kSlot<T>;
  Pack<T, W> half[2];

  __device__ __forceinline__ void load(const T* row, const SlotPlace& at) {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      half[h] = load_some<W>(row + 2 * at.first + h * W, 2 * at.begin - h * W, 2 * at.end - h * W);
  }
  __device__ __forceinline__ void store(T* row, const SlotPlace& at) const {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      store_some<W>(row + 2 * at.first + h * W, half[h], 2 * at.begin - h * W, 2 * at.end - h * W);
  }
  __device__ __forceinline__ ComplexOf<Compute<T>> get(int k) const {
    return {to_compute(half[2 * k / W].at[2 * k % W]), to_compute(half[2 * k / W].at[2 * k % W + 1])};
  }
  __device__ __forceinline__ void put(int k, ComplexOf<Compute<T>> value) {
    half[2 * k / W].at[2 * k % W] = from_compute<T>(value.real);
    half[2 * k / W].at[2 * k % W + 1] = from_compute<T>(value.imag);
  }
};

// For spectrograms that all have their bins side by side: a thread takes one slot of a row, all in registers.
template <class T, bool Backward>
__global__ void __launch_bounds__(MaskResidualPlan::kThreads, 2)
    mask_residual_rows(const __grid_constant__ MaskArguments<T> a, int64_t rows, int64_t batches, int64_t length,
                       int64_t slots) {
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const bool one_row = batches * rows == 1;
  const int64_t row = one_row ? 0 : index / slots, slot = index - row * slots;
  const int64_t b = one_row ? 0 : row / rows, t = row - b * rows;
  if (b >= batches) return;
  const SlotPlace at = slot_place(a.head[kLogit] + row * length, slot, length);
  if (at.begin >= at.end) return;
  SlotParts<T> x{}, d;
  if (a.needs_x(Backward)) x.load(a.x.data + b * a.x.batch + t * a.x.frame, at);
  if constexpr (Backward) d.load(a.d.data + b * a.d.batch + t * a.d.frame, at);
  mask_slot<Backward>(
      a, row * length, at, [&](int k) { return x.get(k); }, [&](int k) { return d.get(k); },
      [&](int k, auto value) { x.put(k, value); });
  if (!Backward || a.y.data) x.store(a.y.data + b * a.y.batch + t * a.y.frame, at);
}

// A tile of a spectrogram in shared memory: the real parts, then the imaginary parts; see choose_pitches. W: the bins
// of a slot.
template <class C, int W>
struct MaskTile {
  static constexpr int kFrames = MaskResidualPlan::kTileFrames;
  C* real;
  int slot_pitch, pitch;
  __device__ __forceinline__ int place(int t, int f) const {
    return t * pitch + int(unsigned(f) % W) * slot_pitch + int(unsigned(f) / W);
  }
  __device__ __forceinline__ ComplexOf<C> get(int t, int f) const {
    return {real[place(t, f)], real[kFrames * pitch + place(t, f)]};
  }
  __device__ __forceinline__ void put(int t, int f, ComplexOf<C> value) const {
    real[place(t, f)] = value.real;
    real[kFrames * pitch + place(t, f)] = value.imag;
  }
};

// The place of a tile: its first frame and bin, and the numbers of frames and bins that exist from there on.
struct TilePlace {
  int64_t batch, frame, bin;
  int frames, bins;
};

// Calls move(element, t, f, count) so that the calls cover all points (t … t + count - 1, f) of the tile. `element` is
// the offset of the first of these points. The count is V if frames are side by side, so that a call may move 16 bytes.
// Otherwise it is 1.
template <int V, class T, class Move>
__device__ __forceinline__ void for_tile(const SpectrogramView<T>& s, const TilePlace& at, Divisor bins, Move&& move) {
  constexpr int kFrames = MaskResidualPlan::kTileFrames, kLanes = kFrames / V;
  const int64_t origin = at.batch * s.batch + at.frame * s.frame + at.bin * s.bin;
  if (s.part == 1 && s.frame == 2) {
#pragma unroll 4
    for (int i = threadIdx.x; i < at.bins * kLanes; i += blockDim.x) {
      const int f = i / kLanes, t = i % kLanes * V;
      if (t < at.frames) move(origin + f * s.bin + 2 * t, t, f, at.frames - t < V ? at.frames - t : V);
    }
  } else if (s.bin <= s.frame) {
#pragma unroll 4
    for (int i = threadIdx.x; i < at.bins * at.frames; i += blockDim.x) {
      const int t = bins.divide(i), f = i - t * at.bins;
      move(origin + f * s.bin + t * s.frame, t, f, 1);
    }
  } else {
#pragma unroll 4
    for (int i = threadIdx.x; i < at.bins * kFrames; i += blockDim.x) {
      const int f = i / kFrames, t = i % kFrames;
      if (t < at.frames) move(origin + f * s.bin + t * s.frame, t, f, 1);
    }
  }
}

template <class T>
inline constexpr int kFramesInPack = kWidest<T> / 2;

// Whether `count` frames, as `for_tile` passes them, are a pack or the beginning of one.
template <class T>
__device__ __forceinline__ bool is_packed(int count, int64_t part_stride) {
  return kFramesInPack<T> > 1 ? count > 1 : part_stride == 1;
}

template <class T, class C, int W>
__device__ __forceinline__ void load_tile(const MaskTile<C, W>& tile, const SpectrogramView<const T>& s,
                                          const TilePlace& at, Divisor bins) {
  constexpr int V = kFramesInPack<T>;
  for_tile<V>(s, at, bins, [&](int64_t element, int t, int f, int count) {
    const T* const from = s.data + element;
    if (!is_packed<T>(count, s.part)) return tile.put(t, f, {C(to_compute(from[0])), C(to_compute(from[s.part]))});
    const Pack<T, 2 * V> read = load_some<2 * V>(from, 0, 2 * count);
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (v < count) tile.put(t + v, f, {to_compute(read.at[2 * v]), to_compute(read.at[2 * v + 1])});
  });
}

template <class T, class C, int W>
__device__ __forceinline__ void store_tile(const MaskTile<C, W>& tile, const SpectrogramView<T>& s, const TilePlace& at,
                                           Divisor bins) {
  constexpr int V = kFramesInPack<T>;
  for_tile<V>(s, at, bins, [&](int64_t element, int t, int f, int count) {
    T* const to = s.data + element;
    Pack<T, 2 * V> stored;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const ComplexOf<C> value = tile.get(v < count ? t + v : t, f);
      stored.at[2 * v] = from_compute<T>(value.real);
      stored.at[2 * v + 1] = from_compute<T>(value.imag);
    }
    if (is_packed<T>(count, s.part)) return store_some<2 * V>(to, stored, 0, 2 * count);
    to[0] = stored.at[0];
    to[s.part] = stored.at[1];
  });
}

struct MaskTiling {
  int64_t tiles_in_time, tiles_in_bins;
  int tile_bins, slot_pitch, pitch;
  Divisor slots;
  Divisor bins, last_bins;  // of a tile; of the last tile
};

template <class T, bool Backward>
__global__ void __launch_bounds__(MaskResidualPlan::kThreads, 2)
    mask_residual_tiles(const __grid_constant__ MaskArguments<T> a, const __grid_constant__ MaskTiling m) {
  using C = Compute<T>;
  constexpr int kFrames = MaskResidualPlan::kTileFrames;
  int64_t block = blockIdx.x;
  TilePlace at;
  at.frame = block % m.tiles_in_time * kFrames, block /= m.tiles_in_time;
  const bool last = block % m.tiles_in_bins == m.tiles_in_bins - 1;
  at.bin = block % m.tiles_in_bins * m.tile_bins;
  at.batch = block / m.tiles_in_bins;
  at.frames = int(a.frames - at.frame < kFrames ? a.frames - at.frame : kFrames);
  at.bins = int(last ? a.bins - at.bin : m.tile_bins);
  const Divisor bins = last ? m.last_bins : m.bins;
  const MaskTile<C, kSlot<T>> x{dynamic_shared<C>(), m.slot_pitch, m.pitch};
  const MaskTile<C, kSlot<T>> d{x.real + 2 * kFrames * m.pitch, m.slot_pitch, m.pitch};

  if (a.needs_x(Backward)) load_tile(x, a.x, at, bins);
  if constexpr (Backward) load_tile(d, a.d, at, bins);
  __syncthreads();
  const int items = at.frames * int(m.slots.divisor);
  for (int first = 0; first < items; first += blockDim.x) {
    const int i = first + int(threadIdx.x), t = m.slots.divide(i);
    const int64_t row = (at.batch * a.frames + at.frame + t) * a.bins + at.bin;
    SlotPlace slot = slot_place(a.head[kLogit] + row, i - t * int(m.slots.divisor), at.bins);
    if (i >= items) slot.end = 0;  // no points, but the lane stays with its warp
    const auto exists = [&](int k) { return k >= slot.begin && k < slot.end; };
    const auto read = [&](const auto& tile, int k) {
      return exists(k) ? tile.get(t, int(slot.first) + k) : ComplexOf<C>{};
    };
    mask_slot<Backward>(
        a, row, slot, [&](int k) { return a.needs_x(Backward) ? read(x, k) : ComplexOf<C>{}; },
        [&](int k) { return read(d, k); },
        [&](int k, ComplexOf<C> value) {
          if (exists(k)) x.put(t, int(slot.first) + k, value);
        });
    __syncwarp();
  }
  __syncthreads();
  if (!Backward || a.y.data) store_tile(x, a.y, at, bins);
}

}  // namespace lite_rtse::cuda
