// A matrix with its bias, y = W x + b, for one stream, or for several streams that share the reading of W. See
// cpu/dense.inl.
//
// A frame reads 1.5 million weights once each, from the third-level cache. They may be stored as 16-bit integers. Each
// output's weights then share the scale max|w| / 32767. The error is at most 1.5e-5 of the largest weight; that of a
// bfloat16 would be up to 4e-3 of each weight.

class Dense {
 public:
  // weight(o, i) and bias(o) return W and b.
  template <class Weight, class Bias>
  Dense(int64_t outputs, int64_t inputs, Precision precision, Weight weight, Bias bias)
      : shape_{outputs, inputs}, precision_(precision), scale_(padded()), bias_(padded()) {
    const std::size_t bytes = shape_.size() * (precision == Precision::f32 ? sizeof(float) : sizeof(int16_t));
    weights_ = huge_bytes(bytes);
    std::memset(weights_.get(), 0, bytes);
    for (int64_t o = 0; o < outputs; ++o) {
      float largest = 0;
      for (int64_t i = 0; i < inputs; ++i) largest = std::max(largest, std::fabs(weight(o, i)));
      scale_[o] = precision == Precision::f32 ? 1.0f : largest / 32767;
      bias_[o] = bias(o);
      for (int64_t i = 0; i < inputs; ++i) put(o, i, weight(o, i));
    }
  }

  // The number of elements that y needs: the outputs, rounded up to a whole vector.
  int64_t padded() const { return shape_.padded(); }

  // x[n]: inputs of stream n; y[n]: padded() outputs of stream n. x and y must not overlap.
  void run(const float* const* x, float* const* y, int64_t n) const {
    if (precision_ == Precision::f32) return run(weights<float>(), x, y, n);
    run(weights<int16_t>(), x, y, n);
  }

 private:
  template <class W>
  void run(const W* w, const float* const* x, float* const* y, int64_t n) const {
    for (int64_t g = 0; g < shape_.groups(); ++g) {
      const Range vectors = shape_.group(g);
      const int64_t at = vectors.first * kLanes<float>;
      const float* base[kRowTile];
      float* target[kRowTile];
      for (int64_t s = 0; s < n; s += kRowTile) {
        const int64_t rows = std::min<int64_t>(kRowTile, n - s);
        for (int64_t r = 0; r < rows; ++r) base[r] = bias_.data() + at, target[r] = y[s + r] + at;
        dense_rows(rows, vectors.size(), w + at * shape_.inputs, shape_.inputs, scale_.data() + at, base, x + s,
                   target);
      }
    }
  }

  void put(int64_t o, int64_t i, float w) {
    int64_t g = 0;
    while (shape_.group(g).last * kLanes<float> <= o) ++g;
    const int64_t first = shape_.group(g).first * kLanes<float>, width = shape_.group(g).size() * kLanes<float>;
    const int64_t at = first * shape_.inputs + i * width + (o - first);
    if (precision_ == Precision::f32) weights<float>()[at] = w;
    if (precision_ == Precision::i16 && scale_[o] > 0) weights<int16_t>()[at] = int16_t(std::lrintf(w / scale_[o]));
  }

  template <class W>
  W* weights() const {
    return reinterpret_cast<W*>(weights_.get());
  }

  DenseShape shape_;
  Precision precision_;
  HugeBytes weights_;
  Buffer<float> scale_, bias_;
};
