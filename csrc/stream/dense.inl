// A matrix times a vector, y = W x + b, for one stream or for several that share the reading of W.
//
// The weights are what a frame reads most of, 1.5 million of them, each once: they stream in from the third-level
// cache. So they are packed in the order in which they are read: lanes are outputs, kGroup vectors of outputs at a
// time, input by input. Several streams go through a group one tile of streams after another, while it is in the
// second-level cache.
//
// As 16-bit integers each output's weights share the scale max|w| / 32767: an error of at most 1.5e-5 of the largest
// weight, where a bfloat16 would be off by up to 4e-3 of each.

constexpr int kGroup = 6;                            // vectors of outputs that are summed at a time
constexpr int64_t kAheadBytes = 2048;                // how far ahead weights are fetched
constexpr int kStreamTile = kManyRegisters ? 4 : 2;  // streams: 4 · 6 or 2 · 6 sums, and room for weights and inputs

LITE_RTSE_INLINE Vec<float> load_weights(const float* w) { return load(w); }
LITE_RTSE_INLINE Vec<float> load_weights(const int16_t* w) {
  typedef int16_t Half __attribute__((vector_size(kVectorBytes / 2), may_alias, aligned(2)));
  return __builtin_convertvector(*reinterpret_cast<const Half*>(w), Vec<float>);
}

// G vectors of outputs for N streams. w: (inputs, G, lanes); scale, bias: (G, lanes).
template <class W, int N, int G>
void dense_tile(const W* w, int64_t inputs, const float* scale, const float* bias, const float* const* x,
                float* const* y) {
  constexpr int64_t L = kLanes<float>;
  Vec<float> sum[N][G];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) sum[n][g] = Vec<float>{};
  for (int64_t i = 0; i < inputs; ++i, w += G * L)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) {
      __builtin_prefetch(reinterpret_cast<const char*>(w + g * L) + kAheadBytes);
      const Vec<float> wg = load_weights(w + g * L);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[n][g] += wg * x[n][i];
    }
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) store(y[n] + g * L, load(bias + g * L) + load(scale + g * L) * sum[n][g]);
}

template <class W, int N>
void dense_group(int64_t vectors, const W* w, int64_t inputs, const float* scale, const float* bias,
                 const float* const* x, float* const* y) {
  static_assert(kGroup == 6);
  switch (vectors) {
    case 1: return dense_tile<W, N, 1>(w, inputs, scale, bias, x, y);
    case 2: return dense_tile<W, N, 2>(w, inputs, scale, bias, x, y);
    case 3: return dense_tile<W, N, 3>(w, inputs, scale, bias, x, y);
    case 4: return dense_tile<W, N, 4>(w, inputs, scale, bias, x, y);
    case 5: return dense_tile<W, N, 5>(w, inputs, scale, bias, x, y);
    default: return dense_tile<W, N, 6>(w, inputs, scale, bias, x, y);
  }
}

class Dense {
 public:
  // weight(o, i) and bias(o) give W and b.
  template <class Weight, class Bias>
  Dense(int64_t outputs, int64_t inputs, Precision precision, Weight weight, Bias bias)
      : inputs_(inputs), vectors_(ceil_div(outputs, kLanes<float>)), groups_(ceil_div(vectors_, kGroup)),
        precision_(precision), scale_(padded()), bias_(padded()) {
    const std::size_t bytes = padded() * inputs * (precision == Precision::f32 ? sizeof(float) : sizeof(int16_t));
    weights_ = pages(bytes);
    std::memset(weights_.get(), 0, bytes);
    for (int64_t o = 0; o < outputs; ++o) {
      float largest = 0;
      for (int64_t i = 0; i < inputs; ++i) largest = std::max(largest, std::fabs(weight(o, i)));
      scale_[o] = precision == Precision::f32 ? 1.0f : largest / 32767;
      bias_[o] = bias(o);
      for (int64_t i = 0; i < inputs; ++i) put(o, i, weight(o, i));
    }
  }

  // What y needs room for: the outputs, to a whole vector.
  int64_t padded() const { return vectors_ * kLanes<float>; }

  // x[n]: inputs, y[n]: padded() outputs of stream n. x and y must not overlap.
  void run(const float* const* x, float* const* y, int64_t n) const {
    if (precision_ == Precision::f32) return run(weights<float>(), x, y, n);
    run(weights<int16_t>(), x, y, n);
  }

 private:
  // The vectors of group g: as even a division as there is.
  Range group(int64_t g) const { return {vectors_ * g / groups_, vectors_ * (g + 1) / groups_}; }

  template <class W>
  void run(const W* w, const float* const* x, float* const* y, int64_t n) const {
    for (int64_t g = 0; g < groups_; ++g) {
      const Range vectors = group(g);
      const int64_t at = vectors.first * kLanes<float>;
      const W* wg = w + at * inputs_;
      float* target[kMostStreams];
      for (int64_t s = 0; s < n; ++s) target[s] = y[s] + at;
      int64_t s = 0;
      for (; s + kStreamTile <= n; s += kStreamTile)
        dense_group<W, kStreamTile>(vectors.size(), wg, inputs_, scale_.data() + at, bias_.data() + at, x + s,
                                    target + s);
      for (; s < n; ++s)
        dense_group<W, 1>(vectors.size(), wg, inputs_, scale_.data() + at, bias_.data() + at, x + s, target + s);
    }
  }

  void put(int64_t o, int64_t i, float w) {
    int64_t g = 0;
    while (group(g).last * kLanes<float> <= o) ++g;
    const int64_t first = group(g).first * kLanes<float>, width = group(g).size() * kLanes<float>;
    const int64_t at = first * inputs_ + i * width + (o - first);
    if (precision_ == Precision::f32) weights<float>()[at] = w;
    if (precision_ == Precision::i16 && scale_[o] > 0) weights<int16_t>()[at] = int16_t(std::lrintf(w / scale_[o]));
  }

  template <class W>
  W* weights() const {
    return reinterpret_cast<W*>(weights_.get());
  }

  int64_t inputs_, vectors_, groups_;
  Precision precision_;
  Pages weights_;
  Buffer<float> scale_, bias_;
};
