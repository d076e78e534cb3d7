// 1x1 convolutions as small matrix products: scalars of the source channels times vectors of target lanes.
//
//   forward          y[p][o]  = bias[o] + Σ_c x[c][p] w[c][o]
//   weight gradient  dw[c][o] += Σ_p x[c][p] g[p][o]
//
// p counts points (bins of one frame), c source channels, o target lanes.
//
// Register tiles are P points × B vectors of targets. For P·B multiply-adds they load P scalars and B vectors. An Ice
// Lake Xeon loads little more than one vector of 64 bytes in the time of two multiply-adds, and a scalar that is spread
// over such a vector counts as one. AVX-512 therefore needs tiles with half as many loads as multiply-adds: 6 × 4 has
// 10 for 24, 12 × 2 has 14 for 24, but 12 × 1 has 13 for 12. So callers should ask for two blocks at a time, or for
// four.

// The channels that a product reads: a table of pointers to them, and the point at which the product begins. Step is
// the distance of neighboring points. As a variable it would cost registers and instructions in every loop below.
template <class T, int64_t Step>
struct Source {
  const T* const* channel;
  int64_t first = 0;
  Source from(int64_t point) const { return {channel, first + point}; }
};
template <class T>
using Planes = Source<T, 1>;  // channels in a tensor's own rows
template <class T>
using Lanes = Source<T, kLanes<T>>;  // channels in lane rows

// Appends pointers to the `count` channels of consecutive lane rows.
template <class T>
const T** lane_channels(const T** at, const T* lane_row, int64_t count) {
  for (int64_t i = 0; i < count; ++i) *at++ = lane_row + i;
  return at;
}

// One tile: P points × B vectors of target lanes. w: B blocks, `block` elements apart, of (channels, lanes). With Times
// each result is multiplied by its factor.
template <class T, int P, int B, bool Times, int64_t Step>
LITE_RTSE_INLINE void pointwise_tile(Source<T, Step> x, int64_t channels, int64_t p, const T* w, int64_t block,
                                     const T* bias, const T* const* factor, T* const* y) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> sum[P][B];
#pragma GCC unroll 16
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) sum[i][b] = load(bias + b * L);
  for (int64_t c = 0; c < channels; ++c) {
    const T* xc = in_register(x.channel[c] + (x.first + p) * Step);
    Vec<T> wc[B];
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) wc[b] = load(w + b * block + c * L);
#pragma GCC unroll 16
    for (int i = 0; i < P; ++i) {
      const T xi = xc[i * Step];
#pragma GCC unroll 4
      for (int b = 0; b < B; ++b) sum[i][b] += wc[b] * xi;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) {
      if (Times) sum[i][b] *= load(factor[b] + (p + i) * L);
      store(y[b] + (p + i) * L, sum[i][b]);
    }
}

template <class T, int B, bool Times, int64_t Step>
void pointwise_blocks(Source<T, Step> x, int64_t channels, int64_t points, const T* w, int64_t block, const T* bias,
                      const T* const* factor, T* const* y) {
  constexpr int P = std::min(12, kPointSums / B);
  int64_t p = 0;
  for (; p + P <= points; p += P) pointwise_tile<T, P, B, Times>(x, channels, p, w, block, bias, factor, y);
  for (; p + 4 <= points; p += 4) pointwise_tile<T, 4, B, Times>(x, channels, p, w, block, bias, factor, y);
  for (; p < points; ++p) pointwise_tile<T, 1, B, Times>(x, channels, p, w, block, bias, factor, y);
}

// One tile of the weight gradient: C channels × B vectors of lanes, over all points.
template <class T, int C, int B, int64_t Step>
LITE_RTSE_INLINE void pointwise_gradient_tile(Source<T, Step> x, int64_t first, const T* const* g, int64_t points,
                                              T* dw, int64_t block) {
  constexpr int64_t L = kLanes<T>;
  const T* channel[C];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c) channel[c] = x.channel[first + c] + x.first * Step;
  Vec<T> sum[C][B];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) sum[c][b] = Vec<T>{};
  for (int64_t p = 0; p < points; ++p) {
    Vec<T> gp[B];
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) gp[b] = load(g[b] + p * L);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const T xc = channel[c][p * Step];
#pragma GCC unroll 4
      for (int b = 0; b < B; ++b) sum[c][b] += gp[b] * xc;
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) add_to(dw + b * block + (first + c) * L, sum[c][b]);
}

template <class T, int B, int64_t Step>
void pointwise_gradient_blocks(Source<T, Step> x, int64_t channels, const T* const* g, int64_t points, T* dw,
                               int64_t block) {
  constexpr int C = kGradientChannels * 2 / B;  // the same number of sums for any number of blocks
  int64_t c = 0;
  for (; c + C <= channels; c += C) pointwise_gradient_tile<T, C, B>(x, c, g, points, dw, block);
  for (; c + 4 <= channels; c += 4) pointwise_gradient_tile<T, 4, B>(x, c, g, points, dw, block);
  for (; c < channels; ++c) pointwise_gradient_tile<T, 1, B>(x, c, g, points, dw, block);
}

// The shape of a 1x1 convolution's packed weights: target blocks of (source channels, lanes), then the biases of the
// blocks.
template <class T>
struct Pointwise {
  int64_t channels = 0, blocks = 0;

  int64_t block() const { return channels * kLanes<T>; }
  int64_t size() const { return blocks * (block() + kLanes<T>); }
  int64_t bias() const { return blocks * block(); }  // the start of the bias

  // Computes y[b], `points` long, for the target blocks [first, first + count).
  template <int64_t Step>
  void forward(const T* packed, Source<T, Step> x, int64_t points, int64_t first, int64_t count, T* const* y) const {
    run<false>(packed, x, points, first, count, y, y);
  }
  // The same for all blocks, multiplied by `factor`. y may be `factor`.
  template <int64_t Step>
  void forward_times(const T* packed, Source<T, Step> x, int64_t points, const T* const* factor, T* const* y) const {
    run<true>(packed, x, points, 0, blocks, factor, y);
  }

  // Adds the gradient of the weights, in the packed layout.
  template <int64_t Step>
  void weight_gradient(T* packed, Source<T, Step> x, const T* const* g, int64_t points) const {
    int64_t i = 0;
    if constexpr (kPointBlocks >= 4)
      for (; i + 4 <= blocks; i += 4)
        pointwise_gradient_blocks<T, 4>(x, channels, g + i, points, packed + i * block(), block());
    for (; i + 2 <= blocks; i += 2)
      pointwise_gradient_blocks<T, 2>(x, channels, g + i, points, packed + i * block(), block());
    if (i < blocks) pointwise_gradient_blocks<T, 1>(x, channels, g + i, points, packed + i * block(), block());
  }
  // Adds the gradients of weights and bias.
  template <int64_t Step>
  void gradient(T* packed, Source<T, Step> x, const T* const* g, int64_t points) const {
    weight_gradient(packed, x, g, points);
    for (int64_t i = 0; i < blocks; ++i) add_row_sum(g[i], points, packed + bias() + i * kLanes<T>);
  }

 private:
  template <bool Times, int64_t Step>
  void run(const T* packed, Source<T, Step> x, int64_t points, int64_t first, int64_t count, const T* const* factor,
           T* const* y) const {
    const T* w = packed + first * block();
    const T* b = packed + bias() + first * kLanes<T>;
    int64_t i = 0;
    if constexpr (kPointBlocks >= 4)
      for (; i + 4 <= count; i += 4, w += 4 * block(), b += 4 * kLanes<T>)
        pointwise_blocks<T, 4, Times>(x, channels, points, w, block(), b, factor + i, y + i);
    for (; i + 2 <= count; i += 2, w += 2 * block(), b += 2 * kLanes<T>)
      pointwise_blocks<T, 2, Times>(x, channels, points, w, block(), b, factor + i, y + i);
    if (i < count) pointwise_blocks<T, 1, Times>(x, channels, points, w, block(), b, factor + i, y + i);
  }
};

constexpr int64_t kTilePoints = 48;  // a multiple of the register tiles, 12 and 6 points

// Cuts the bins into tiles of kTilePoints. The last tile may be up to twice as long, so no tile is a small remainder.
struct PointTiles {
  int64_t bins;
  int64_t count() const { return bins == 0 ? 0 : std::max<int64_t>(1, bins / kTilePoints); }
  Range operator[](int64_t i) const { return {i * kTilePoints, i + 1 == count() ? bins : (i + 1) * kTilePoints}; }
  static constexpr int64_t kLongest = 2 * kTilePoints;
};
