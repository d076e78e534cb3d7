// Masking plus residual, as one complex gain:
//
//   S = a · r · X,   a = R_mag (1 - M) + M,   M = sigmoid(logit),   r = R / |R|,   R = R_re + i R_im
//
// It is the published S_mag = R_mag (m - Y1) + Y1 with m = |X|, Y1 = m M and phase arg X + arg R: S_mag = a m, and
// m · exp(i arg X) = X. So neither |X| nor an angle is computed, and nothing is singular where X = 0. Where R = 0, arg
// R is 0 with derivative 0: r = 1.
//
// Written for one bin at a time: the loops over bins below are branch-free and the compiler vectorises them.

constexpr int64_t kMaskSegment = 64;  // frames a task

// exp(x) for x <= 0. With n = round(x / ln 2) and |t| <= ln 2 / 2, exp(x) = 2^n exp(t); a degree-6 Taylor sum leaves
// t^7 / 7! < 1.3e-7. Adding 1.5 · 2^23 rounds to an integer and leaves it in the low mantissa bits. Below -87, where
// float32 ends, the result stays at exp(-87).
LITE_RTSE_INLINE float exp_negative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float magic = 12582912.0f;
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  float t = x - n * 0.693145752f;  // ln 2 in two parts: the first has 8 zero bits at its end, so n times it is exact
  t = t - n * 1.42860677e-6f;
  float p = 1.0f / 720;
  p = p * t + 1.0f / 120;
  p = p * t + 1.0f / 24;
  p = p * t + 1.0f / 6;
  p = p * t + 0.5f;
  p = p * t + 1.0f;
  p = p * t + 1.0f;
  return p * bits_to_float((float_to_bits(shifted) - float_to_bits(magic) + 127u) << 23);
}
LITE_RTSE_INLINE double exp_negative(double x) { return std::exp(x); }

template <class T>
struct Gain {
  T mask, rest;            // M and 1 - M, each to full relative precision
  T amount;                // a
  T real, imag, per_norm;  // r, and 1 / |R| (0 where R = 0)
};

// R is scaled by a power of two before it is squared, so that neither overflows nor underflows: exact, and it cancels
// in r.
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
  const T abs_re = re < 0 ? -re : re, abs_im = im < 0 ? -im : im;
  const T larger_part = abs_re > abs_im ? abs_re : abs_im;
  const T scale = larger_part < kTiny ? kUp : larger_part > kHuge ? kDown : T(1);
  const T x = re * scale, y = im * scale;
  const T square = x * x + y * y;
  const bool zero = square == 0;
  const T inverse = 1 / std::sqrt(zero ? T(1) : square);
  g.real = zero ? T(1) : x * inverse;
  g.imag = y * inverse;
  g.per_norm = zero ? T(0) : inverse * scale;
  return g;
}

// One part (0 real, 1 imaginary) of a frame.
inline int64_t part_offset(const Spectrogram& s, int64_t b, int64_t t, int64_t part) {
  return b * s.batch_stride + t * s.frame_stride + part * s.part_stride;
}
template <class T>
void read_part(const Spectrogram& s, DType dtype, int64_t b, int64_t t, int64_t part, int64_t bins, T* to) {
  read_elements(s.data, dtype, part_offset(s, b, t, part), to, bins, s.bin_stride);
}
template <class T>
void write_part(const Spectrogram& s, DType dtype, int64_t b, int64_t t, int64_t part, int64_t bins, const T* from) {
  write_elements(const_cast<void*>(s.data), dtype, part_offset(s, b, t, part), from, bins, s.bin_stride);
}

// The inputs of one frame as rows of T, read in place or converted into scratch.
template <class T>
class MaskFrame {
 public:
  explicit MaskFrame(const MaskResidual& a) : a_(a) {}
  void layout(Arena& arena) {
    for (T*& row : converted_) row = arena.take<T>(a_.bins);
    x_real = arena.take<T>(a_.bins);
    x_imag = arena.take<T>(a_.bins);
  }
  void read(int64_t b, int64_t t) {
    const void* data[4] = {a_.logit, a_.res_mag, a_.res_real, a_.res_imag};
    const T** row[4] = {&logit, &res_mag, &res_real, &res_imag};
    for (int i = 0; i < 4; ++i)
      Feature<T>(data[i], a_.dtype, 1, a_.frames, a_.bins).read(b, t, 0, 1, row[i], converted_[i]);
    read_part(a_.x, a_.dtype, b, t, 0, a_.bins, x_real);
    read_part(a_.x, a_.dtype, b, t, 1, a_.bins, x_imag);
  }

  const T *logit = nullptr, *res_mag = nullptr, *res_real = nullptr, *res_imag = nullptr;
  T *x_real = nullptr, *x_imag = nullptr;

 private:
  const MaskResidual& a_;
  T* converted_[4] = {};
};

template <class T>
void mask_residual_bins(const MaskFrame<T>& in, int64_t bins, T* __restrict y_real, T* __restrict y_imag) {
  const T *logit = in.logit, *res_mag = in.res_mag, *res_real = in.res_real, *res_imag = in.res_imag;
  const T *x_real = in.x_real, *x_imag = in.x_imag;
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
  explicit MaskResidualJob(const MaskResidual& a) : a_(a), segments_(a.batch, a.frames, kMaskSegment) {}
  int64_t tasks() const override { return segments_.count(); }
  void run(int64_t task) override {
    const Segment s = segments_[task];
    MaskFrame<T> in(a_);
    T *y_real = nullptr, *y_imag = nullptr;
    const auto layout = [&](Arena arena) {
      in.layout(arena);
      y_real = arena.take<T>(a_.bins);
      y_imag = arena.take<T>(a_.bins);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    for (int64_t t = s.first; t < s.last; ++t) {
      in.read(s.utterance, t);
      mask_residual_bins(in, a_.bins, y_real, y_imag);
      write_part(a_.y, a_.dtype, s.utterance, t, 0, a_.bins, y_real);
      write_part(a_.y, a_.dtype, s.utterance, t, 1, a_.bins, y_imag);
    }
  }

 private:
  const MaskResidual a_;
  const Segments segments_;
};

// With G = dS as a pair of real numbers and u = r X:
//
//   dX = a conj(r) G                          da = Re(conj(u) G)
//   dR_mag = da (1 - M)                       dlogit = da (1 - R_mag) M (1 - M)
//   dφ = Re(conj(i S) G) = a Im(conj(u) G)    dR = dφ · i r / |R|       (φ = arg R)
template <class T>
struct MaskGradientRows {
  T *dx_real, *dx_imag, *dlogit, *dres_mag, *dres_real, *dres_imag;
};

template <class T>
void mask_residual_backward_bins(const MaskFrame<T>& in, const T* g_real, const T* g_imag, int64_t bins,
                                 const MaskGradientRows<T>& out) {
  const T *logit = in.logit, *res_mag = in.res_mag, *res_real = in.res_real, *res_imag = in.res_imag;
  const T *x_real = in.x_real, *x_imag = in.x_imag;
  T* __restrict dx_real = out.dx_real, * __restrict dx_imag = out.dx_imag, * __restrict dlogit = out.dlogit;
  T* __restrict dres_mag = out.dres_mag, * __restrict dres_real = out.dres_real, * __restrict dres_imag = out.dres_imag;
  for (int64_t f = 0; f < bins; ++f) {
    const Gain<T> g = gain(logit[f], res_mag[f], res_real[f], res_imag[f]);
    const T gr = g_real[f], gi = g_imag[f];
    const T u_real = g.real * x_real[f] - g.imag * x_imag[f], u_imag = g.real * x_imag[f] + g.imag * x_real[f];
    const T da = u_real * gr + u_imag * gi;
    const T turn = g.amount * (u_real * gi - u_imag * gr) * g.per_norm;
    dx_real[f] = g.amount * (g.real * gr + g.imag * gi);
    dx_imag[f] = g.amount * (g.real * gi - g.imag * gr);
    dres_mag[f] = da * g.rest;
    dlogit[f] = da * (1 - res_mag[f]) * g.mask * g.rest;
    dres_real[f] = -turn * g.imag;
    dres_imag[f] = turn * g.real;
  }
}

template <class T>
class MaskResidualBackwardJob final : public Job {
 public:
  explicit MaskResidualBackwardJob(const MaskResidualBackward& a)
      : a_(a), segments_(f_.batch, f_.frames, kMaskSegment) {}
  int64_t tasks() const override { return segments_.count(); }
  void run(int64_t task) override {
    const Segment s = segments_[task];
    MaskFrame<T> in(f_);
    T* row[8] = {};
    const auto layout = [&](Arena arena) {
      in.layout(arena);
      for (T*& r : row) r = arena.take<T>(f_.bins);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    const MaskGradientRows<T> out{row[2], row[3], row[4], row[5], row[6], row[7]};
    void* const features[4] = {a_.dlogit, a_.dres_mag, a_.dres_real, a_.dres_imag};
    for (int64_t t = s.first; t < s.last; ++t) {
      in.read(s.utterance, t);
      for (int part = 0; part < 2; ++part) read_part(a_.dy, f_.dtype, s.utterance, t, part, f_.bins, row[part]);
      mask_residual_backward_bins(in, row[0], row[1], f_.bins, out);
      for (int part = 0; part < 2; ++part) write_part(a_.dx, f_.dtype, s.utterance, t, part, f_.bins, row[2 + part]);
      for (int i = 0; i < 4; ++i)
        write_elements(features[i], f_.dtype, (s.utterance * f_.frames + t) * f_.bins, row[4 + i], f_.bins);
    }
  }

 private:
  const MaskResidualBackward a_;
  const MaskResidual& f_ = a_.forward;
  const Segments segments_;
};
