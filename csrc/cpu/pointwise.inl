// 1x1 convolutions as small matrix products: scalars of the source channels times vectors of target lanes.
//
//   forward          y[p][o]  = bias[o] + Σ_c x[c][p] w[c][o]
//   weight gradient  dw[c][o] += Σ_p x[c][p] g[p][o]
//
// p counts points (bins of one frame), c source channels, o target lanes. A source is a table of channel pointers and
// the distance of neighboring points. The distance is 1 for a tensor's own rows and kLanes for channels in lane rows.

template <class T>
struct Source {
  const T* const* channel;
  int64_t step;  // elements from one point to the next
};

// Appends pointers to the `count` channels of consecutive lane rows.
template <class T>
const T** lane_channels(const T** at, const T* lane_row, int64_t count) {
  for (int64_t i = 0; i < count; ++i) *at++ = lane_row + i;
  return at;
}

// One tile: P points × B vectors of target lanes. w: B blocks, `block` elements apart, of (channels, lanes).
template <class T, int P, int B, bool Add>
LITE_RTSE_INLINE void pointwise_tile(Source<T> x, int64_t channels, int64_t p, const T* w, int64_t block, const T* bias,
                                     T* const* y) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> sum[P][B];
#pragma GCC unroll 16
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) sum[i][b] = Add ? load(y[b] + (p + i) * L) : load(bias + b * L);
  for (int64_t c = 0; c < channels; ++c) {
    const T* xc = in_register(x.channel[c] + p * x.step);
    Vec<T> wc[B];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) wc[b] = load(w + b * block + c * L);
#pragma GCC unroll 16
    for (int i = 0; i < P; ++i) {
      const T xi = xc[i * x.step];
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) sum[i][b] += wc[b] * xi;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) store(y[b] + (p + i) * L, sum[i][b]);
}

template <class T, int B, bool Add>
void pointwise_blocks(Source<T> x, int64_t channels, int64_t points, const T* w, int64_t block, const T* bias,
                      T* const* y) {
  constexpr int P = kPoints * 2 / B;  // one block takes twice the points, for the same number of sums in flight
  int64_t p = 0;
  for (; p + P <= points; p += P) pointwise_tile<T, P, B, Add>(x, channels, p, w, block, bias, y);
  for (; p + 4 <= points; p += 4) pointwise_tile<T, 4, B, Add>(x, channels, p, w, block, bias, y);
  for (; p < points; ++p) pointwise_tile<T, 1, B, Add>(x, channels, p, w, block, bias, y);
}

// One tile of the weight gradient: C channels × B vectors of lanes, over all points.
template <class T, int C, int B>
LITE_RTSE_INLINE void pointwise_gradient_tile(const T* const* channel, int64_t step, const T* const* g, int64_t points,
                                              T* dw, int64_t block) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> sum[C][B];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) sum[c][b] = Vec<T>{};
  for (int64_t p = 0; p < points; ++p) {
    Vec<T> gp[B];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) gp[b] = load(g[b] + p * L);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const T xc = channel[c][p * step];
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) sum[c][b] += gp[b] * xc;
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) add_to(dw + b * block + c * L, sum[c][b]);
}

template <class T, int B>
void pointwise_gradient_blocks(Source<T> x, int64_t channels, const T* const* g, int64_t points, T* dw, int64_t block) {
  constexpr int C = kGradientChannels * 2 / B;  // the same number of sums for one block as for two
  int64_t c = 0;
  for (; c + C <= channels; c += C)
    pointwise_gradient_tile<T, C, B>(x.channel + c, x.step, g, points, dw + c * kLanes<T>, block);
  for (; c + 4 <= channels; c += 4)
    pointwise_gradient_tile<T, 4, B>(x.channel + c, x.step, g, points, dw + c * kLanes<T>, block);
  for (; c < channels; ++c)
    pointwise_gradient_tile<T, 1, B>(x.channel + c, x.step, g, points, dw + c * kLanes<T>, block);
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
  template <bool Add = false>
  void forward(const T* packed, Source<T> x, int64_t points, int64_t first, int64_t count, T* const* y) const {
    const T* w = packed + first * block();
    const T* b = packed + bias() + first * kLanes<T>;
    int64_t i = 0;
    for (; i + 2 <= count; i += 2, w += 2 * block(), b += 2 * kLanes<T>)
      pointwise_blocks<T, 2, Add>(x, channels, points, w, block(), b, y + i);
    if (i < count) pointwise_blocks<T, 1, Add>(x, channels, points, w, block(), b, y + i);
  }

  // Adds the gradient of the weights, in the packed layout.
  void weight_gradient(T* packed, Source<T> x, const T* const* g, int64_t points) const {
    int64_t i = 0;
    for (; i + 2 <= blocks; i += 2)
      pointwise_gradient_blocks<T, 2>(x, channels, g + i, points, packed + i * block(), block());
    if (i < blocks) pointwise_gradient_blocks<T, 1>(x, channels, g + i, points, packed + i * block(), block());
  }
  // Adds the gradients of weights and bias.
  void gradient(T* packed, Source<T> x, const T* const* g, int64_t points) const {
    weight_gradient(packed, x, g, points);
    for (int64_t i = 0; i < blocks; ++i) add_row_sum(g[i], points, packed + bias() + i * kLanes<T>);
  }
};
