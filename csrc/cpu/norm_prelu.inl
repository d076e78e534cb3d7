// Batch norm and PReLU. A task computes one channel, so a sum over a channel does not depend on the threads.
//
// A channel is read piece by piece: for its mean, for its variance, and for y. A piece stays in the first-level cache.
// A sum of a piece has float32 terms, and the sums of the pieces are added in float64.

constexpr int64_t kPiece = 1024;  // numbers; a multiple of a vector

// One channel of a stored (batch, channels, points) tensor.
struct Channel {
  int64_t batch, channels, points, channel;

  int64_t size() const { return batch * points; }
  // f(offset, count) for each piece, in order.
  template <class F>
  void for_each_piece(F f) const {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t p = 0; p < points; p += kPiece)
        f((b * channels + channel) * points + p, std::min(kPiece, points - p));
  }
};

// A piece as T, read in place if it is stored so.
template <class T>
const T* read_piece(const void* data, DType dtype, int64_t offset, int64_t n, T* scratch) {
  if (stored_as<T>(dtype)) return static_cast<const T*>(data) + offset;
  read_elements(data, dtype, offset, scratch, n);
  return scratch;
}

template <class T>
T piece_sum(const T* x, int64_t n) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[k] += load_unaligned(x + i + k * L);
  T total = lane_sum<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < n; ++i) total += x[i];
  return total;
}

// z = (x - mean) scale + bias of one channel, and the slope of its PReLU.
template <class T>
struct ChannelNorm {
  T mean, inverse, scale, bias, slope;  // inverse: 1 / sqrt(var + eps)

  ChannelNorm(const NormPreluArgs& a, int64_t c, T mean_, T var)
      : mean(mean_), inverse(1 / std::sqrt(var + T(a.eps))), scale(inverse * number(a, a.weight, c, 1)),
        bias(number(a, a.bias, c, 0)), slope(number(a, a.slope, a.slopes > 1 ? c : 0, 1)) {}

  static T number(const NormPreluArgs& a, const void* data, int64_t at, T otherwise) {
    if (data) read_elements(data, a.dtype, at, &otherwise, 1);
    return otherwise;
  }
};

template <class T>
class NormPreluJob final : public Job {
 public:
  explicit NormPreluJob(const NormPreluArgs& a) : a_(a) {}
  int64_t tasks() const override { return a_.channels; }

  void run(int64_t c) override {
    const Channel channel{a_.batch, a_.channels, a_.points, c};
    T *scratch = nullptr, *out = nullptr;
    const auto layout = [&](Arena arena) {
      scratch = arena.take<T>(kPiece), out = arena.take<T>(kPiece);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    T* const statistics = static_cast<T*>(a_.statistics);
    T &mean = statistics[c], &var = statistics[a_.channels + c];
    mean = a_.mean ? ChannelNorm<T>::number(a_, a_.mean, c, 0) : average(channel, 0, scratch, out, false);
    var = a_.mean ? ChannelNorm<T>::number(a_, a_.var, c, 0) : average(channel, mean, scratch, out, true);
    const ChannelNorm<T> norm(a_, c, mean, var);
    channel.for_each_piece([&](int64_t at, int64_t n) {
      const T* const x = read_piece(a_.x, a_.dtype, at, n, scratch);
      T* const y = stored_as<T>(a_.dtype) ? static_cast<T*>(a_.y) + at : out;
      activate(norm, x, n, y);
      if (y == out) write_elements(a_.y, a_.dtype, at, out, n);
    });
  }

 private:
  static void activate(ChannelNorm<T> norm, const T* x, int64_t n, T* y) {
    LITE_RTSE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const T z = (x[i] - norm.mean) * norm.scale + norm.bias;
      y[i] = z > 0 ? z : norm.slope * z;
    }
  }

  // The mean of x - shift, or of its square.
  T average(Channel channel, T shift, T* scratch, T* terms, bool square) const {
    double sum = 0;
    channel.for_each_piece([&](int64_t at, int64_t n) {
      const T* const x = read_piece(a_.x, a_.dtype, at, n, scratch);
      LITE_RTSE_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) terms[i] = square ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
      sum += double(piece_sum(terms, n));
    });
    return channel.size() ? T(sum / double(channel.size())) : T(0);
  }

  const NormPreluArgs a_;
};

// With x^ = (x - mean) / sqrt(var + eps), z = weight x^ + bias, g = dy for z > 0 and slope dy otherwise, and averages
// over the n values of a channel:
//
//     dbias = Σ g,   dweight = Σ g x^,   dslope = Σ dy z for z ≤ 0
//     dx = weight / sqrt(var + eps) (g - dbias / n - x^ dweight / n)
//
// The last two terms come from the mean and the variance; they are absent if these are given.
template <class T>
class NormPreluBackwardJob final : public Job {
 public:
  explicit NormPreluBackwardJob(const NormPreluBackwardArgs& a)
      : a_(a), dweight_(f_.channels), dbias_(f_.channels), dslope_(f_.channels) {}
  int64_t tasks() const override { return f_.channels; }

  void run(int64_t c) override {
    const Channel channel{f_.batch, f_.channels, f_.points, c};
    Scratch s;
    const auto layout = [&](Arena arena) {
      for (T** const part : {&s.x, &s.dy, &s.g, &s.gx, &s.slope}) *part = arena.take<T>(kPiece);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    const T* const statistics = static_cast<const T*>(f_.statistics);
    const ChannelNorm<T> norm(f_, c, statistics[c], statistics[f_.channels + c]);
    Sums sums;
    if (a_.needs_sums()) sums = parameter_gradients(channel, norm, s);
    if (a_.dx) input_gradient(channel, norm, sums, s);
  }

  void finish() override {
    write_parameter(a_.dweight, f_.dtype, dweight_);
    write_parameter(a_.dbias, f_.dtype, dbias_);
    if (f_.slopes > 1) return write_parameter(a_.dslope, f_.dtype, dslope_);
    Buffer<T> sum(1);
    for (int64_t c = 0; c < f_.channels; ++c) sum[0] += dslope_[c];
    write_parameter(a_.dslope, f_.dtype, sum);
  }

 private:
  struct Scratch {
    T *x, *dy, *g, *gx, *slope;
  };
  struct Sums {
    double dweight = 0, dbias = 0;
  };

  Sums parameter_gradients(Channel channel, ChannelNorm<T> norm, const Scratch& s) {
    Sums sums;
    double dslope = 0;
    channel.for_each_piece([&](int64_t at, int64_t n) {
      const T *const x = read_piece(f_.x, f_.dtype, at, n, s.x), *const dy = read_piece(a_.dy, f_.dtype, at, n, s.dy);
      products(norm, x, dy, n, s);
      sums.dbias += double(piece_sum(s.g, n)), sums.dweight += double(piece_sum(s.gx, n));
      dslope += double(piece_sum(s.slope, n));
    });
    dweight_[channel.channel] = T(sums.dweight), dbias_[channel.channel] = T(sums.dbias);
    dslope_[channel.channel] = T(dslope);
    return sums;
  }

  void input_gradient(Channel channel, ChannelNorm<T> norm, Sums sums, const Scratch& s) const {
    const double size = double(std::max<int64_t>(channel.size(), 1));
    const T of_mean = a_.batch_statistics ? T(sums.dbias / size) : T(0);
    const T of_var = a_.batch_statistics ? T(sums.dweight / size) * norm.inverse : T(0);
    channel.for_each_piece([&](int64_t at, int64_t n) {
      const T *const x = read_piece(f_.x, f_.dtype, at, n, s.x), *const dy = read_piece(a_.dy, f_.dtype, at, n, s.dy);
      T* const dx = stored_as<T>(f_.dtype) ? static_cast<T*>(a_.dx) + at : s.g;
      input_gradient_piece(norm, of_mean, of_var, x, dy, n, dx);
      if (dx == s.g) write_elements(a_.dx, f_.dtype, at, s.g, n);
    });
  }

  // The terms of the three sums.
  static void products(ChannelNorm<T> norm, const T* x, const T* dy, int64_t n, const Scratch& s) {
    T *const g = s.g, *const gx = s.gx, *const slope = s.slope;
    LITE_RTSE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const T centered = x[i] - norm.mean, z = centered * norm.scale + norm.bias;
      g[i] = z > 0 ? dy[i] : norm.slope * dy[i];
      gx[i] = g[i] * (centered * norm.inverse);
      slope[i] = z > 0 ? T(0) : dy[i] * z;
    }
  }
  static void input_gradient_piece(ChannelNorm<T> norm, T of_mean, T of_var, const T* x, const T* dy, int64_t n,
                                   T* dx) {
    LITE_RTSE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const T centered = x[i] - norm.mean, z = centered * norm.scale + norm.bias;
      const T g = z > 0 ? dy[i] : norm.slope * dy[i];
      dx[i] = norm.scale * (g - of_mean - centered * of_var);
    }
  }

  const NormPreluBackwardArgs a_;
  const NormPreluArgs& f_ = a_.forward;
  const Buffer<T> dweight_, dbias_, dslope_;
};

inline std::unique_ptr<Job> norm_prelu(const NormPreluArgs& a) { return job_for<NormPreluJob>(a.dtype, a); }
inline std::unique_ptr<Job> norm_prelu_backward(const NormPreluBackwardArgs& a) {
  return job_for<NormPreluBackwardJob>(a.forward.dtype, a);
}
