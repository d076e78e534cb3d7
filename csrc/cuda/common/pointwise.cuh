// 1x1 convolutions of whole feature maps in global memory, and their weight gradients. Both are register-tiled products
// for any number of channels.
#pragma once

#include "pointwise_product.cuh"
#include "reduce.cuh"

namespace lite_rtse::cuda {

// y[b][o][p] = (bias[o] + Σ_c w(o, c) x[b][c][p]) · factor[b][o][p] + addend[b][o][p], p < points.
// x_utterance, x_plane, y_utterance, y_plane: the number of elements from one utterance, or one channel, to the next. A
// plane of y is written whole; its padding is computed as if x were zero there. factor, addend: dense, in the compute
// type of Y; null if there is none. bias may be null too.
//
// Tensor cores multiply where x and w are stored in one half type. They do not in float32: TensorFloat-32 rounds to 10
// bits, which float32's error bound forbids.
template <class X, class W, class Y>
struct Pointwise {
  int64_t batch, sources, targets, points;
  const X* x;
  int64_t x_utterance, x_plane;
  const W* weight;
  bool transposed;  // weight is (sources, targets) instead of (targets, sources)
  const W* bias;
  Y* y;
  int64_t y_utterance, y_plane;
  const Compute<Y>*factor, *addend;
};

// Computes value · factor + addend for the first `count` of four points from `at` on.
template <class X, class W, class Y, class C>
__device__ __forceinline__ void combine(Pack<C, 4>& value, const Pointwise<X, W, Y>& a, int64_t at, int64_t count) {
  if (a.factor) {
    const Pack<C, 4> factor = load_some<C, 4>(a.factor + at, count);
#pragma unroll
    for (int j = 0; j < 4; ++j) value.at[j] *= factor.at[j];
  }
  if (a.addend) {
    const Pack<C, 4> addend = load_some<C, 4>(a.addend + at, count);
#pragma unroll
    for (int j = 0; j < 4; ++j) value.at[j] += addend.at[j];
  }
}

// A block computes all targets of its tiles, 32 targets at a time. Up to 32 sources stay in shared memory during this.
// The next sources, or those of the block's next tile, are read while these are multiplied.
template <class X, class W, class Y>
__global__ void __launch_bounds__(kPointwiseThreads, sizeof(Compute<Y>) == 8 ? 2 : 4)
    pointwise(const __grid_constant__ Pointwise<X, W, Y> a, const __grid_constant__ PointwiseMarch m) {
  using C = Compute<Y>;
  using Product = PointwiseProduct<X, W, Y>;
  using N = typename Product::Number;
  N* const tile = dynamic_shared<N>();
  N* const weights = tile + Product::kTileSize;

  const int64_t target_stride = a.transposed ? 1 : a.sources, source_stride = a.transposed ? a.targets : 1;
  const auto stage = [&](N* to, int64_t o0, int64_t c0) {
    Product::stage(to, a.weight + o0 * target_stride + c0 * source_stride, target_stride, source_stride, a.targets - o0,
                   a.sources - c0);
  };
  if (m.kept) {
    N* to = weights;
    for (int64_t o0 = 0; o0 < a.targets; o0 += kTile)
      for (int64_t c0 = 0; c0 < a.sources; c0 += kTile, to += Product::kWeightsSize) stage(to, o0, c0);
  }

  HeldPoints<kPointwisePoints, kPointwiseThreads, X> next;
  const auto read = [&](unsigned t, int64_t c0) {
    const int64_t first = int64_t(t % m.tiles) * kPointwisePoints;
    next.load(a.x + t / m.tiles * a.x_utterance + c0 * a.x_plane + first, a.x_plane, a.sources - c0, a.points - first);
  };
  read(blockIdx.x, 0);
  for (unsigned t = blockIdx.x; t < m.all_tiles; t += gridDim.x) {
    const int64_t b = t / m.tiles, first = int64_t(t % m.tiles) * kPointwisePoints;
    const N* w = weights;
    for (int64_t o0 = 0; o0 < a.targets; o0 += kTile) {
      typename Product::Sum sum = {};
      for (int64_t c0 = 0; c0 < a.sources; c0 += kTile) {
        const bool replaces = o0 == 0 || a.sources > kTile;
        if (replaces || !m.kept) {
          __syncthreads();
          if (replaces) Product::store(next, tile);
          if (!m.kept) stage(weights, o0, c0);
          __syncthreads();
        }
        const bool last = c0 + kTile >= a.sources, leaves = last && (a.sources <= kTile || o0 + kTile >= a.targets);
        const unsigned following = leaves ? t + gridDim.x : t;
        if (replaces && following < m.all_tiles) read(following, last ? 0 : c0 + kTile);
        const int sources = int(a.sources - c0 < kTile ? a.sources - c0 : kTile);
        Product::add(sum, w, tile, sources);
        if (m.kept) w += Product::kWeightsSize;
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int64_t o = Product::target(o0, i);
        if (o >= a.targets) continue;
        const C bias = a.bias ? C(to_compute(a.bias[o])) : C(0);
        const int64_t p = Product::point(first, i);
        Pack<C, 4> value = Product::four(sum, i);
#pragma unroll
        for (int j = 0; j < 4; ++j) value.at[j] += bias;
        if (a.factor || a.addend) combine(value, a, (b * a.targets + o) * a.points + p, a.points - p);
        store_some(a.y + b * a.y_utterance + o * a.y_plane + p, value, a.y_plane - p);
      }
    }
  }
}

template <class X, class W, class Y>
cudaError_t launch_pointwise(const Pointwise<X, W, Y>& a, const Device& device, cudaStream_t stream) {
  if (a.targets == 0) return cudaSuccess;
  const PointwisePlan plan(a.batch, a.sources, a.targets, a.points, int64_t(sizeof(Compute<Y>)), device);
  if (!plan.fits) return cudaErrorInvalidConfiguration;
  return enqueue(plan.geometry, stream, pointwise<X, W, Y>, a, plan.march);
}

// dw(o, c) = Σ_bp g[b][o][p] x[b][c][p], db[o] = Σ_bp g[b][o][p].
template <class G, class X>
struct PointwiseGradient {
  int64_t batch, sources, targets, points;
  const G* g;
  int64_t g_utterance, g_plane;
  const X* x;
  int64_t x_utterance, x_plane;
};

// A block sums one 32 x 32 part of dw over one span. Each warp takes its share of a tile's points. The next tile is
// read while one is multiplied.
template <class G, class X, class C>
__global__ void __launch_bounds__(kPointwiseThreads, sizeof(C) == 8 ? 2 : 4)
    pointwise_gradient(const __grid_constant__ PointwiseGradient<G, X> a, int64_t spans, int64_t span_points,
                       int64_t width, C* __restrict__ partial) {
  constexpr int kPoints = kGradientPoints, kPitch = channel_pitch(kPoints);
  constexpr int kOfWarp = kPoints / (kPointwiseThreads / kWarp);
  C* const g = dynamic_shared<C>();
  C* const x = g + kTile * kPitch;
  const int64_t row = blockIdx.x % (a.batch * spans), pair = blockIdx.x / (a.batch * spans);
  const int64_t target_blocks = ceil_div(a.targets, kTile);
  const int64_t o0 = pair % target_blocks * kTile, c0 = pair / target_blocks * kTile;
  const int64_t b = row / spans, begin = row % spans * span_points;
  const int length = int(span_points < a.points - begin ? span_points : a.points - begin);
  const LanePlace lane = lane_place();
  const int warp = threadIdx.x / kWarp;

  HeldPoints<kPoints, kPointwiseThreads, G> next_g;
  HeldPoints<kPoints, kPointwiseThreads, X> next_x;
  const G* const from_g = a.g + b * a.g_utterance + o0 * a.g_plane + begin;
  const X* const from_x = a.x + b * a.x_utterance + c0 * a.x_plane + begin;
  const auto read = [&](int first) {
    next_g.load(from_g + first, a.g_plane, a.targets - o0, length - first);
    next_x.load(from_x + first, a.x_plane, a.sources - c0, length - first);
  };

  C sum[4][8] = {}, bias[4] = {};
  read(0);
  for (int first = 0; first < length; first += kPoints) {
    next_g.store(g);
    next_x.store(x);
    __syncthreads();
    if (first + kPoints < length) read(first + kPoints);
    accumulate_outer<true>(sum, bias, g + warp * kOfWarp, kPitch, x + warp * kOfWarp, kPitch, kOfWarp, lane);
    __syncthreads();
  }

  C* const dw = partial + row * width;
  C* const db = dw + a.targets * a.sources;
  sum_over_warps<kPointwiseThreads>(g, sum, bias, lane, [&](int o, int c, C value) {
    if (o0 + o >= a.targets) return;
    if (c < kTile && c0 + c < a.sources) dw[(o0 + o) * a.sources + c0 + c] = value;
    if (c == kTile && c0 == 0) db[o0 + o] = value;
  });
}

template <class G, class X, class C>
cudaError_t launch_pointwise_gradient(const PointwiseGradient<G, X>& a, const PointwiseGradientPlan& plan, C* partial,
                                      cudaStream_t stream) {
  const int64_t shared = 2 * kTile * channel_pitch(kGradientPoints) * int64_t(sizeof(C));
  return enqueue({plan.rows * plan.pairs, kPointwiseThreads, shared}, stream, pointwise_gradient<G, X, C>, a,
                 plan.spans, plan.span_points, plan.width, partial);
}

}  // namespace lite_rtse::cuda
