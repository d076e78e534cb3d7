// Masking plus residual, as one complex gain:
//
//   S = a · r · X,   a = R_mag (1 - M) + M,   M = sigmoid(logit),   r = R / |R|,   R = R_re + i R_im
//
// The published formula is S_mag = R_mag (m - Y1) + Y1 with m = |X|, Y1 = m M and phase arg X + arg R. Here S_mag = a
// m, and m · exp(i arg X) = X. The kernel thus computes neither |X| nor an angle, and nothing is singular where X = 0.
// Where R = 0, arg R is defined as 0 with derivative 0, so r = 1.
//
// The code treats one bin at a time. The loops over bins below have no branches, so the compiler vectorizes them.

constexpr int64_t kMaskSegment = 64;  // frames per task

template <class T>
LITE_RTSE_INLINE T clamp_finite(T x) {
  constexpr T kMost = std::numeric_limits<T>::max();
  return x > kMost ? kMost : x < -kMost ? -kMost : x;
}

template <class T>
struct Gain {
  T mask, rest;      // M and 1 - M, each to full relative precision
  T amount;          // a
  T real, imag;      // r
  T inverse, scale;  // 1 / |R| = inverse * scale; inverse is 0 where R = 0
};

// R is scaled by a power of two before it is squared, so that the square neither overflows nor underflows. The scaling
// is exact and cancels in r. 1 / |R| itself may overflow, so its two factors stay separate. Zero times the product thus
// stays zero. Infinite parts count as the largest finite ones, which have the same angle.
template <class T>
LITE_RTSE_INLINE Gain<T> gain(T logit, T res_mag, T re, T im) {
  constexpr T kTiny = sizeof(T) == 8 ? T(0x1p-400) : T(0x1p-50f), kHuge = 1 / kTiny;
  constexpr T kUp = sizeof(T) == 8 ? T(0x1p600) : T(0x1p90f), kDown = 1 / kUp;
  Gain<T> g;
  const T e = exp_negative(logit > 0 ? -logit : logit);
  const T larger = 1 / (1 + e), smaller = e * larger;
  g.mask = logit > 0 ? larger : smaller;
  g.rest = logit > 0 ? smaller : larger;
  g.amount = res_mag * g.rest + g.mask;
  re = clamp_finite(re);
  im = clamp_finite(im);
  const T abs_re = re < 0 ? -re : re, abs_im = im < 0 ? -im : im;
  const T larger_part = abs_re > abs_im ? abs_re : abs_im;
  const T scale = larger_part < kTiny ? kUp : larger_part > kHuge ? kDown : T(1);
  const T x = re * scale, y = im * scale;
  const T square = x * x + y * y;
  const bool zero = square == 0;
  const T inverse = 1 / std::sqrt(zero ? T(1) : square);
  g.real = zero ? T(1) : x * inverse;
  g.imag = y * inverse;
  g.inverse = zero ? T(0) : inverse;
  g.scale = scale;
  return g;
}

// A few frames of a spectrogram as rows of T: row(r, part) is the real (0) or imaginary (1) part of frame t + r.
//
// If the frames of a bin are contiguous in memory, all of them are moved bin by bin. A cache line then holds kFrames of
// them and is read once. Moving frame by frame would read it kFrames times. With a power of two as the number of
// frames, all bins would also map to the same few cache sets.
template <class T>
class PartRows {
 public:
  static constexpr int64_t kFrames = 8;

  PartRows(const Spectrogram& s, DType dtype, int64_t bins) : s_(s), dtype_(dtype), bins_(bins) {}
  void layout(Arena& arena) { rows_ = arena.take<T>(2 * kFrames * bins_); }
  T* row(int64_t r, int64_t part) const { return rows_ + (2 * r + part) * bins_; }

  void read(int64_t b, int64_t t, int64_t frames) {
    if (!side_by_side()) {
      for (int64_t k = 0; k < 2 * frames; ++k)
        read_elements(s_.data, dtype_, offset(b, t + k / 2, k % 2), rows_ + k * bins_, bins_, s_.bin_stride);
      return;
    }
    if (frames == kFrames) return read_lines<2 * kFrames>(b, t, 2 * kFrames);
    read_lines<0>(b, t, 2 * frames);
  }
  void write(int64_t b, int64_t t, int64_t frames) const {
    void* data = const_cast<void*>(s_.data);
    if (!side_by_side()) {
      for (int64_t k = 0; k < 2 * frames; ++k)
        write_elements(data, dtype_, offset(b, t + k / 2, k % 2), rows_ + k * bins_, bins_, s_.bin_stride);
      return;
    }
    if (frames == kFrames) return write_lines<2 * kFrames>(b, t, 2 * kFrames);
    write_lines<0>(b, t, 2 * frames);
  }

 private:
  // Moves `count` contiguous numbers of each bin. N is count if it is known at compile time. A known count moves in
  // square tiles, each transposed in registers.
  template <int N>
  void read_lines(int64_t b, int64_t t, int64_t count) {
    constexpr int64_t L = kLanes<T>;
    T converted[2 * kFrames];
    int64_t f = 0;
    if (N > 0 && stored_as<T>(dtype_))
      for (; f + L <= bins_; f += L)
        for (int64_t k = 0; k < N; k += L) {
          Vec<T> v[L];
#pragma GCC unroll 16
          for (int64_t l = 0; l < L; ++l) v[l] = load_unaligned(line(b, t, f + l) + k);
          transpose<T>(v);
#pragma GCC unroll 16
          for (int64_t l = 0; l < L; ++l) store_unaligned(rows_ + (k + l) * bins_ + f, v[l]);
        }
    for (; f < bins_; ++f) {
      const T* from = stored_as<T>(dtype_) ? line(b, t, f) : converted;
      if (!stored_as<T>(dtype_)) read_elements(s_.data, dtype_, offset(b, t, 0) + f * s_.bin_stride, converted, count);
      for (int64_t k = 0; k < (N > 0 ? N : count); ++k) rows_[k * bins_ + f] = from[k];
    }
  }
  template <int N>
  void write_lines(int64_t b, int64_t t, int64_t count) const {
    constexpr int64_t L = kLanes<T>;
    T converted[2 * kFrames];
    int64_t f = 0;
    if (N > 0 && stored_as<T>(dtype_))
      for (; f + L <= bins_; f += L)
        for (int64_t k = 0; k < N; k += L) {
          Vec<T> v[L];
#pragma GCC unroll 16
          for (int64_t l = 0; l < L; ++l) v[l] = load_unaligned(rows_ + (k + l) * bins_ + f);
          transpose<T>(v);
#pragma GCC unroll 16
          for (int64_t l = 0; l < L; ++l) store_unaligned(line(b, t, f + l) + k, v[l]);
        }
    for (; f < bins_; ++f) {
      T* to = stored_as<T>(dtype_) ? line(b, t, f) : converted;
      for (int64_t k = 0; k < (N > 0 ? N : count); ++k) to[k] = rows_[k * bins_ + f];
      if (!stored_as<T>(dtype_))
        write_elements(const_cast<void*>(s_.data), dtype_, offset(b, t, 0) + f * s_.bin_stride, converted, count);
    }
  }

  T* line(int64_t b, int64_t t, int64_t f) const {
    return static_cast<T*>(const_cast<void*>(s_.data)) + offset(b, t, 0) + f * s_.bin_stride;
  }
  bool side_by_side() const { return s_.part_stride == 1 && s_.frame_stride == 2; }
  int64_t offset(int64_t b, int64_t t, int64_t part) const {
    return b * s_.batch_stride + t * s_.frame_stride + part * s_.part_stride;
  }

  const Spectrogram s_;
  const DType dtype_;
  const int64_t bins_;
  T* rows_ = nullptr;
};

// The features of one frame as rows of T, read in place or converted into scratch memory.
template <class T>
class MaskFrame {
 public:
  explicit MaskFrame(const MaskResidualArgs& a) : a_(a) {}
  void layout(Arena& arena) {
    for (T*& row : converted_) row = arena.take<T>(a_.bins);
  }
  void read(int64_t b, int64_t t) {
    const void* data[4] = {a_.logit, a_.res_mag, a_.res_real, a_.res_imag};
    const T** row[4] = {&logit, &res_mag, &res_real, &res_imag};
    for (int i = 0; i < 4; ++i)
      Feature<T>(data[i], a_.dtype, 1, a_.frames, a_.bins).read(b, t, 0, 1, row[i], converted_[i]);
  }

  const T *logit = nullptr, *res_mag = nullptr, *res_real = nullptr, *res_imag = nullptr;

 private:
  const MaskResidualArgs& a_;
  T* converted_[4] = {};
};

template <class T>
void mask_residual_bins(const MaskFrame<T>& in, const T* x_real, const T* x_imag, int64_t bins, T* y_real, T* y_imag) {
  const T *logit = in.logit, *res_mag = in.res_mag, *res_real = in.res_real, *res_imag = in.res_imag;
  LITE_RTSE_INDEPENDENT
  for (int64_t f = 0; f < bins; ++f) {
    const Gain<T> g = gain(logit[f], res_mag[f], res_real[f], res_imag[f]);
    const T real = g.amount * g.real, imag = g.amount * g.imag;
    y_real[f] = real * x_real[f] - imag * x_imag[f];
    y_imag[f] = real * x_imag[f] + imag * x_real[f];
  }
}

template <class T>
class MaskResidualJob final : public Job {
 public:
  explicit MaskResidualJob(const MaskResidualArgs& a) : a_(a), segments_(a.batch, a.frames, kMaskSegment) {}
  int64_t tasks() const override { return segments_.count(); }
  void run(int64_t task) override {
    const Segment s = segments_[task];
    MaskFrame<T> in(a_);
    PartRows<T> x(a_.x, a_.dtype, a_.bins), y(a_.y, a_.dtype, a_.bins);
    const auto layout = [&](Arena arena) {
      in.layout(arena);
      x.layout(arena);
      y.layout(arena);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    for (int64_t t = s.first; t < s.last; t += PartRows<T>::kFrames) {
      const int64_t n = std::min(PartRows<T>::kFrames, s.last - t);
      x.read(s.utterance, t, n);
      for (int64_t r = 0; r < n; ++r) {
        in.read(s.utterance, t + r);
        mask_residual_bins(in, x.row(r, 0), x.row(r, 1), a_.bins, y.row(r, 0), y.row(r, 1));
      }
      y.write(s.utterance, t, n);
    }
  }

 private:
  const MaskResidualArgs a_;
  const Segments segments_;
};

// With G = dS as a pair of real numbers and u = r X, the gradients are:
//
//   dX = a conj(r) G                          da = Re(conj(u) G)
//   dR_mag = da (1 - M)                       dlogit = da (1 - R_mag) M (1 - M)
//   dφ = Re(conj(i S) G) = a Im(conj(u) G)    dR = dφ · i r / |R|       (φ = arg R)
template <class T>
struct MaskGradientRows {
  const T *x_real, *x_imag, *g_real, *g_imag;
  T *dx_real, *dx_imag, *dlogit, *dres_mag, *dres_real, *dres_imag;
};

// OfX, OfFeatures: which of them are wanted. The other rows may be null.
template <class T, bool OfX, bool OfFeatures>
void mask_residual_backward_bins(const MaskFrame<T>& in, int64_t bins, const MaskGradientRows<T>& out) {
  const T *logit = in.logit, *res_mag = in.res_mag, *res_real = in.res_real, *res_imag = in.res_imag;
  const T *x_real = out.x_real, *x_imag = out.x_imag, *g_real = out.g_real, *g_imag = out.g_imag;
  T *dx_real = out.dx_real, *dx_imag = out.dx_imag, *dlogit = out.dlogit;
  T *dres_mag = out.dres_mag, *dres_real = out.dres_real, *dres_imag = out.dres_imag;
  LITE_RTSE_INDEPENDENT
  for (int64_t f = 0; f < bins; ++f) {
    const Gain<T> g = gain(logit[f], res_mag[f], res_real[f], res_imag[f]);
    const T gr = g_real[f], gi = g_imag[f];
    [[maybe_unused]] T da, turn;
    if constexpr (OfFeatures) {
      const T u_real = g.real * x_real[f] - g.imag * x_imag[f], u_imag = g.real * x_imag[f] + g.imag * x_real[f];
      da = u_real * gr + u_imag * gi;
      turn = g.amount * (u_real * gi - u_imag * gr) * g.inverse * g.scale;
    }
    if constexpr (OfX) {
      dx_real[f] = g.amount * (g.real * gr + g.imag * gi);
      dx_imag[f] = g.amount * (g.real * gi - g.imag * gr);
    }
    if constexpr (OfFeatures) {
      dres_mag[f] = da * g.rest;
      dlogit[f] = da * (1 - res_mag[f]) * g.mask * g.rest;
      dres_real[f] = -turn * g.imag;
      dres_imag[f] = turn * g.real;
    }
  }
}

template <class T>
class MaskResidualBackwardJob final : public Job {
 public:
  explicit MaskResidualBackwardJob(const MaskResidualBackwardArgs& a)
      : a_(a), segments_(f_.batch, f_.frames, kMaskSegment) {}
  int64_t tasks() const override { return wants_x() || a_.wants_features() ? segments_.count() : 0; }
  void run(int64_t task) override {
    const Segment s = segments_[task];
    MaskFrame<T> in(f_);
    PartRows<T> x(f_.x, f_.dtype, f_.bins), dy(a_.dy, f_.dtype, f_.bins), dx(a_.dx, f_.dtype, f_.bins);
    T* row[4] = {};
    const auto layout = [&](Arena arena) {
      in.layout(arena);
      dy.layout(arena);
      if (wants_x()) dx.layout(arena);
      if (a_.wants_features()) x.layout(arena);
      for (T*& r : row) r = arena.take<T>(a_.wants_features() ? f_.bins : 0);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    for (int64_t t = s.first; t < s.last; t += PartRows<T>::kFrames) {
      const int64_t n = std::min(PartRows<T>::kFrames, s.last - t);
      if (a_.wants_features()) x.read(s.utterance, t, n);
      dy.read(s.utterance, t, n);
      for (int64_t r = 0; r < n; ++r) {
        in.read(s.utterance, t + r);
        MaskGradientRows<T> rows{};
        rows.g_real = dy.row(r, 0), rows.g_imag = dy.row(r, 1);
        if (wants_x()) rows.dx_real = dx.row(r, 0), rows.dx_imag = dx.row(r, 1);
        if (a_.wants_features()) rows.x_real = x.row(r, 0), rows.x_imag = x.row(r, 1);
        frame(in, (s.utterance * f_.frames + t + r) * f_.bins, rows, row);
      }
      if (wants_x()) dx.write(s.utterance, t, n);
    }
  }

 private:
  bool wants_x() const { return a_.dx.data != nullptr; }

  // One frame, whose features begin at element `at`; scratch: a row for the gradient of each of them.
  void frame(const MaskFrame<T>& in, int64_t at, MaskGradientRows<T> rows, T* const* scratch) const {
    if (!a_.wants_features()) return mask_residual_backward_bins<T, true, false>(in, f_.bins, rows);
    void* const features[4] = {a_.dlogit, a_.dres_mag, a_.dres_real, a_.dres_imag};
    T** const to[4] = {&rows.dlogit, &rows.dres_mag, &rows.dres_real, &rows.dres_imag};
    for (int i = 0; i < 4; ++i) *to[i] = stored_as<T>(f_.dtype) ? static_cast<T*>(features[i]) + at : scratch[i];
    wants_x() ? mask_residual_backward_bins<T, true, true>(in, f_.bins, rows)
              : mask_residual_backward_bins<T, false, true>(in, f_.bins, rows);
    for (int i = 0; i < 4 && !stored_as<T>(f_.dtype); ++i)
      write_elements(features[i], f_.dtype, at, scratch[i], f_.bins);
  }

  const MaskResidualBackwardArgs a_;
  const MaskResidualArgs& f_ = a_.forward;
  const Segments segments_;
};

inline std::unique_ptr<Job> mask_residual(const MaskResidualArgs& a) { return job_for<MaskResidualJob>(a.dtype, a); }
inline std::unique_ptr<Job> mask_residual_backward(const MaskResidualBackwardArgs& a) {
  return job_for<MaskResidualBackwardJob>(a.forward.dtype, a);
}
