// A matrix with its bias, y = W x + b, for one stream, or for several streams that share the reading of W. See
// cpu/dense.inl.
//
// A frame reads 1.5 million weights once each, from the third-level cache. They may be stored as integers of b bits.
// Each output's weights then share one scale, and a weight's error is at most 2^-b of the largest of them.
//
// The integers are up to 2^31. The inputs are therefore multiplied by 2^-31, so sums overflow where those of floats do.

constexpr int64_t kMostInputs = 3 * kBins, kPaddedInputs = ceil_div(kMostInputs, 4) * 4;

class Dense {
 public:
  // weight(o, i) and bias(o) return W and b.
  template <class Weight, class Bias>
  Dense(int64_t outputs, int64_t inputs, Precision precision, Weight weight, Bias bias)
      : shape_{outputs, inputs}, precision_(precision), scale_(padded()), bias_(padded()) {
    with_format([&](auto format) {
      using W = decltype(format);
      const std::size_t bytes = shape_.padded() * steps<W>() * Format<W>::kWords * sizeof(W);
      weights_ = huge_bytes(bytes);
      std::memset(weights_.get(), 0, bytes);
      std::vector<float> row(stored_inputs<W>());
      for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t i = 0; i < inputs; ++i) row[i] = weight(o, i);
        scale_[o] = pack<W>(o, row);
        bias_[o] = bias(o);
      }
    });
  }

  // The number of elements that y needs: the outputs, rounded up to a whole vector.
  int64_t padded() const { return shape_.padded(); }

  // x[n]: inputs of stream n; y[n]: padded() outputs of stream n. x and y must not overlap.
  void run(const float* const* x, float* const* y, int64_t n) const {
    with_format([&](auto format) {
      using W = decltype(format);
      if constexpr (std::is_same_v<W, float>) return run<W>(x, y, n);
      alignas(kVectorBytes) float scaled[kMostStreams][kPaddedInputs];
      const float* rows[kMostStreams];
      for (int64_t s = 0; s < n; ++s) {
        for (int64_t i = 0; i < shape_.inputs; ++i) scaled[s][i] = 0x1p-31f * x[s][i];
        std::fill(scaled[s] + shape_.inputs, scaled[s] + stored_inputs<W>(), 0.0f);
        rows[s] = scaled[s];
      }
      run<W>(rows, y, n);
    });
  }

 private:
  // Calls f with a value of the type that the weights are stored in.
  template <class F>
  void with_format(F f) const {
    switch (kInt16Only ? Precision::i16 : precision_) {
      case Precision::f32: return f(float());
      case Precision::i24: return f(Int24());
      case Precision::i16: return f(Int16());
      case Precision::i8: return f(Int8());
    }
  }

  template <class W>
  int64_t steps() const {
    return ceil_div(shape_.inputs, Format<W>::kInputs);
  }
  // The inputs, rounded up to whole steps.
  template <class W>
  int64_t stored_inputs() const {
    return steps<W>() * Format<W>::kInputs;
  }
  template <class W>
  W* group(Range vectors) const {
    return reinterpret_cast<W*>(weights_.get()) + vectors.first * kLanes<float> * steps<W>() * Format<W>::kWords;
  }

  template <class W>
  void run(const float* const* x, float* const* y, int64_t n) const {
    for (int64_t g = 0; g < shape_.groups(); ++g) {
      const Range vectors = shape_.group(g);
      const int64_t at = vectors.first * kLanes<float>;
      const float* base[kRowTile];
      float* target[kRowTile];
      for (int64_t s = 0; s < n; s += kRowTile) {
        const int64_t rows = std::min<int64_t>(kRowTile, n - s);
        for (int64_t r = 0; r < rows; ++r) base[r] = bias_.data() + at, target[r] = y[s + r] + at;
        dense_rows<W>(rows, vectors.size(), group<W>(vectors), stored_inputs<W>(), scale_.data() + at, base, x + s,
                      target);
      }
    }
  }

  // Stores the weights of an output and returns their scale.
  template <class W>
  float pack(int64_t o, const std::vector<float>& row) {
    constexpr int64_t L = kLanes<float>, kInputs = Format<W>::kInputs, kWords = Format<W>::kWords;
    int64_t g = 0;
    while (shape_.group(g).last * L <= o) ++g;
    const Range vectors = shape_.group(g);
    W* to = group<W>(vectors) + (o / L - vectors.first) * kWords * L + o % L;
    const int64_t step = vectors.size() * kWords * L;
    if constexpr (std::is_same_v<W, float>) {
      for (float w : row) *to = w, to += step;
      return 1;
    } else {
      constexpr int32_t kUnit = int32_t(1) << (32 - W::kBits), kLargest = std::numeric_limits<int32_t>::max() / kUnit;
      float largest = 0;
      for (float w : row) largest = std::max(largest, std::fabs(w));
      if (largest < std::numeric_limits<float>::min()) return 0;  // subnormal: zero
      for (size_t i = 0; i < row.size(); i += kInputs, to += step) {
        int32_t whole[kInputs];
        for (int j = 0; j < kInputs; ++j)
          whole[j] =
              kUnit * std::clamp(int32_t(std::lrint(double(row[i + j]) / largest * kLargest)), -kLargest, kLargest);
        W::pack(whole, to, L);
      }
      return float(largest * (0x1p31 / kUnit / kLargest));
    }
  }

  DenseShape shape_;
  Precision precision_;
  HugeBytes weights_;
  Buffer<float> scale_, bias_;
};
