// The Fourier transform of 512 real samples and its inverse, computed with one complex transform of 256 points.
//
// The complex transform is Stockham's. It has radix 4 and four passes, which alternate between two buffers. Its results
// are in order without bit reversal. The passes have 1, 4, 16 and 64 transforms side by side; the loop over these
// vectorizes.

constexpr int kPoints256 = 256;
static_assert(kWindow == 2 * kPoints256);

// exp(-2πi k / n), computed in double.
LITE_RTSE_INLINE void twiddle(int k, int n, float& re, float& im) {
  const double angle = -2 * 3.14159265358979323846 * k / n;
  re = float(std::cos(angle));
  im = float(std::sin(angle));
}

struct Complex256 {
  float* re;
  float* im;
};

// One pass: turns `Side` transforms side by side of `N` points each into 4·Side transforms of N/4 points. w: three
// factors for each of N/4 points.
template <int N, int Side>
void fft_pass(Complex256 x, Complex256 y, const float* w) {
  constexpr int M = N / 4;
  for (int p = 0; p < M; ++p, w += 6) {
    const float w1r = w[0], w1i = w[1], w2r = w[2], w2i = w[3], w3r = w[4], w3i = w[5];
    const float *ar = x.re + Side * p, *br = ar + Side * M, *cr = br + Side * M, *dr = cr + Side * M;
    const float *ai = x.im + Side * p, *bi = ai + Side * M, *ci = bi + Side * M, *di = ci + Side * M;
    float *yr = y.re + Side * 4 * p, *yi = y.im + Side * 4 * p;
    LITE_RTSE_INDEPENDENT
    for (int q = 0; q < Side; ++q) {
      const float sum_ac_r = ar[q] + cr[q], sum_ac_i = ai[q] + ci[q], dif_ac_r = ar[q] - cr[q],
                  dif_ac_i = ai[q] - ci[q];
      const float sum_bd_r = br[q] + dr[q], sum_bd_i = bi[q] + di[q], dif_bd_r = br[q] - dr[q],
                  dif_bd_i = bi[q] - di[q];
      const float ur = dif_ac_r + dif_bd_i, ui = dif_ac_i - dif_bd_r;  // (a - c) - i (b - d)
      const float vr = sum_ac_r - sum_bd_r, vi = sum_ac_i - sum_bd_i;
      const float tr = dif_ac_r - dif_bd_i, ti = dif_ac_i + dif_bd_r;  // (a - c) + i (b - d)
      yr[q] = sum_ac_r + sum_bd_r;
      yi[q] = sum_ac_i + sum_bd_i;
      yr[Side + q] = w1r * ur - w1i * ui;
      yi[Side + q] = w1r * ui + w1i * ur;
      yr[2 * Side + q] = w2r * vr - w2i * vi;
      yi[2 * Side + q] = w2r * vi + w2i * vr;
      yr[3 * Side + q] = w3r * tr - w3i * ti;
      yi[3 * Side + q] = w3r * ti + w3i * tr;
    }
  }
}

class RealTransform {
 public:
  RealTransform() {
    float* w = factors_;
    for (int n = kPoints256; n >= 4; n /= 4)
      for (int p = 0; p < n / 4; ++p)
        for (int k = 1; k <= 3; ++k, w += 2) twiddle(k * p, n, w[0], w[1]);
    for (int k = 0; k <= kPoints256; ++k) twiddle(k, 2 * kPoints256, split_re_[k], split_im_[k]);
  }

  // x: 512 samples; re, im: 257 bins.
  void forward(const float* x, float* re, float* im) const {
    alignas(kAlignment) float buffer[4][kPoints256];
    const Complex256 a{buffer[0], buffer[1]}, b{buffer[2], buffer[3]};
    for (int k = 0; k < kPoints256; ++k) {
      a.re[k] = x[2 * k];
      a.im[k] = x[2 * k + 1];
    }
    complex(a, b);
    // Let E and O be the transforms of the even and odd samples. Then Z = E + iO and X[k] = E[k] + w^k O[k].
    for (int k = 0; k <= kPoints256; ++k) {
      const int i = k % kPoints256, j = (kPoints256 - k) % kPoints256;
      const float even_re = 0.5f * (a.re[i] + a.re[j]), even_im = 0.5f * (a.im[i] - a.im[j]);
      const float odd_re = 0.5f * (a.im[i] + a.im[j]), odd_im = -0.5f * (a.re[i] - a.re[j]);
      re[k] = even_re + split_re_[k] * odd_re - split_im_[k] * odd_im;
      im[k] = even_im + split_re_[k] * odd_im + split_im_[k] * odd_re;
    }
  }

  // Computes the real signal of these bins. The imaginary parts of bins 0 and 256, which no real signal has, count as
  // 0.
  void inverse(const float* re, const float* im, float* x) const {
    alignas(kAlignment) float buffer[4][kPoints256];
    const Complex256 a{buffer[0], buffer[1]}, b{buffer[2], buffer[3]};
    constexpr float kScale = 1.0f / (2 * kPoints256);
    for (int k = 0; k < kPoints256; ++k) {
      const int j = kPoints256 - k;
      const float im_k = k == 0 ? 0 : im[k], im_j = k == 0 ? 0 : im[j];
      const float even_re = re[k] + re[j], even_im = im_k - im_j;
      const float dif_re = re[k] - re[j], dif_im = im_k + im_j;
      const float odd_re = split_re_[k] * dif_re + split_im_[k] * dif_im;  // conj(w^k) times the difference
      const float odd_im = split_re_[k] * dif_im - split_im_[k] * dif_re;
      // Z = E + iO. Real and imaginary parts are swapped: the forward transform of the swapped Z, swapped back, is the
      // inverse.
      a.im[k] = kScale * (even_re - odd_im);
      a.re[k] = kScale * (even_im + odd_re);
    }
    complex(a, b);
    for (int k = 0; k < kPoints256; ++k) {
      x[2 * k] = a.im[k];
      x[2 * k + 1] = a.re[k];
    }
  }

 private:
  void complex(Complex256 a, Complex256 b) const {
    fft_pass<256, 1>(a, b, factors_);
    fft_pass<64, 4>(b, a, factors_ + 6 * 64);
    fft_pass<16, 16>(a, b, factors_ + 6 * (64 + 16));
    fft_pass<4, 64>(b, a, factors_ + 6 * (64 + 16 + 4));
  }

  float factors_[6 * (64 + 16 + 4 + 1)];
  float split_re_[kPoints256 + 1], split_im_[kPoints256 + 1];
};
