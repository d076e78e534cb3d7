// A depthwise stage with 7 x 7 taps on tensor cores, for half types. One warp computes the rows of a stage.
//
// Seven taps of a row are a band of a matrix. For the eight outputs of a window, from bin f on,
//
//   out[f + n] += Σ_k x[f - 4 + k] B[k][n],   B[k][n] = w[k - 1 - n] if 0 <= k - 1 - n < 7, else 0;  k < 16, n < 8.
//
// A row of A is such a window. Four lanes have five neighboring windows: those of two products (mma.cuh) and half of a
// third. Seven products, one for each row of taps, multiply a row of bins when it arrives. They add to the seven
// outputs that depend on it, as in Convolution.
//
// A number between two stages is the sum of two numbers of the half type, which keeps 16 bits in bfloat16 and 22 in
// float16. A row in shared memory has the high parts of its bins and then the low ones, each behind four zeros. The
// first two products take one part after the other. The third takes both at a time, in the rows g and g + 8 of A.
//
// The second half of a window is the first half of the next one, so a lane reads six words of each part. Those of the
// next four lanes are 20 words further. So no access has bank conflicts.
//
// A number that is not finite makes NaN of the outputs whose window has it, which are up to 11 bins away. With taps in
// registers they are 3 bins away.
#pragma once

#include "../common/mma.cuh"
#include "multi_order_conv_stencil.cuh"

namespace lite_rtse::cuda {

template <class T>
class BandStage {
  static constexpr int K = kBandTaps, kWords = kBandPart / 2, kHalf = 4;  // words of half a window
  static constexpr int kProducts = (kBandWindows + 1) / 2;
  static_assert(kBandWindows == 5 && kBandWindows * kWarp * 2 >= kBandBins && kBandBins == kWarp * kColumns<float>);

 public:
  using Number = T;

  static __device__ __forceinline__ int pitch(const CascadeMarch&) { return 2 * kBandPart; }
  // The column of a row's first bin, and that of the thread's first one.
  static __device__ __forceinline__ constexpr int first(int) { return 4; }
  static __device__ __forceinline__ int column(const CascadeMarch&) { return column_of(threadIdx.x); }
  // One bin of a row.
  static __device__ __forceinline__ void put(T* at, float value) {
    const Parts parts = parts_of(value);
    at[0] = parts.high, at[kBandPart] = parts.low;
  }
  static __device__ __forceinline__ float get(const T* at) { return to_compute(at[0]) + to_compute(at[kBandPart]); }

  // How much further the window of an output begins than in a row of CoreStage.
  static constexpr int kSkip = first(K) - K / 2;
  // An odd number of neighboring bins, read as words. A row begins with a word, but the bins need not.
  template <int N>
  static __device__ __forceinline__ void read(float (&to)[N], const T* from) {
    static_assert(N % 2 == 1);  // so that the last word has the last bin in either case
    const int odd = int(reinterpret_cast<uintptr_t>(from) / sizeof(T) % 2);
    const unsigned* const words = reinterpret_cast<const unsigned*>(from - odd);
    unsigned high = words[0], low = words[kWords];
#pragma unroll
    for (int j = 0; j < N; j += 2) {
      const bool more = j + 1 < N;
      const unsigned next_high = more ? words[j / 2 + 1] : 0, next_low = more ? words[kWords + j / 2 + 1] : 0;
      T of_high[2], of_low[2];
      const unsigned pair_of_high = shifted(high, next_high, odd), pair_of_low = shifted(low, next_low, odd);
      memcpy(of_high, &pair_of_high, 4);
      memcpy(of_low, &pair_of_low, 4);
#pragma unroll
      for (int k = 0; k < 2; ++k)
        if (j + k < N) to[j + k] = to_compute(of_high[k]) + to_compute(of_low[k]);
      high = next_high, low = next_low;
    }
  }

  __device__ __forceinline__ void load(const T* __restrict__ weight, int, bool reversed, float bias) {
    const int n = group_of(threadIdx.x), k = 2 * member_of(threadIdx.x);
    const auto tap = [&](int i, int j) {
      const int at = i * K + j;
      return j >= 0 && j < K ? weight[reversed ? K * K - 1 - at : at] : T{};
    };
    bias_ = bias;
#pragma unroll
    for (int i = 0; i < K; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        band_[i][half] = fragment_word(tap(i, k + 8 * half - 1 - n), tap(i, k + 8 * half - n));
    // The rows of zeros before the first row. A tap that is not finite turns them into NaN.
    const unsigned zeros[4] = {};
#pragma unroll
    for (int p = 0; p < kProducts; ++p) {
      multiply_fragments<T>(row_[K - 2][p], zeros, band_[0], {});
#pragma unroll
      for (int i = K - 2; i > 0; --i) multiply_fragments<T>(row_[i - 1][p], zeros, band_[K - 1 - i], row_[i][p]);
    }
  }

  // Computes the row of outputs that is complete with the row at `in`. They are zeros from bin `end` on.
  __device__ __forceinline__ void step(const RowCursor<T>& in, const RowCursor<T>& out, int, int, int end) {
    const int left = end - column_of(opaque(threadIdx.x));  // bins from the lane's first one on
    const unsigned* const x = reinterpret_cast<const unsigned*>(in.at);
    unsigned halves[2][kBandWindows + 1];
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
      for (int i = 0; i <= kBandWindows; ++i) {
        halves[part][i] = 0;
        if (left > (i - 1) * 2 * kHalf) halves[part][i] = x[part * kWords + i * kHalf];
      }
#pragma unroll
    for (int p = 0; p < kProducts; ++p) {
      const unsigned (&high)[kBandWindows + 1] = halves[0], (&low)[kBandWindows + 1] = halves[1];
      const int w = 2 * p;
      const auto add = [&](float (&to)[4], int i, const float (&before)[4]) {
        if (w + 1 == kBandWindows)
          return multiply_fragments<T>(to, {high[w], low[w], high[w + 1], low[w + 1]}, band_[K - 1 - i], before);
        multiply_fragments<T>(to, {high[w], high[w + 1], high[w + 1], high[w + 2]}, band_[K - 1 - i], before);
        multiply_fragments<T>(to, {low[w], low[w + 1], low[w + 1], low[w + 2]}, band_[K - 1 - i], to);
      };
      float sum[4];
      add(sum, 0, row_[0][p]);
#pragma unroll
      for (int i = 1; i < K - 1; ++i) add(row_[i - 1][p], i, row_[i][p]);
      add(row_[K - 2][p], K - 1, {});
      if (w + 1 < kBandWindows)
        put_two(out.at, w + 1, left, sum[2], sum[3]);
      else
        sum[0] += sum[2], sum[1] += sum[3];
      put_two(out.at, w, left, sum[0], sum[1]);
    }
  }

 private:
  // A number as the sum of two.
  struct Parts {
    T high, low;
  };
  static __device__ __forceinline__ Parts parts_of(float value) {
    const T high = from_compute<T>(value);
    return {high, from_compute<T>(value - to_compute(high))};
  }

  // The word that begins `odd` numbers behind the first one's.
  static __device__ __forceinline__ unsigned shifted(unsigned first, unsigned second, int odd) {
    return unsigned((uint64_t(second) << 32 | first) >> 16 * odd);
  }
  // g and t of mma.cuh
  static __device__ __forceinline__ int group_of(int thread) { return thread % kWarp / 4; }
  static __device__ __forceinline__ int member_of(int thread) { return thread % 4; }
  static __device__ __forceinline__ int column_of(int thread) {
    return 2 * (group_of(thread) * kBandWindows * kHalf + member_of(thread));
  }

  // The lane's sums for two neighboring bins of a window.
  __device__ __forceinline__ void put_two(T* row, int window, int left, float first, float second) const {
    left -= window * 2 * kHalf;
    if (left <= 0) return;  // zeros stay there
    first += bias_, second = left > 1 ? second + bias_ : 0.0f;
    const Parts one = parts_of(first), other = parts_of(second);
    unsigned* const to = reinterpret_cast<unsigned*>(row) + window * kHalf;
    to[0] = fragment_word(one.high, other.high), to[kWords] = fragment_word(one.low, other.low);
  }

  unsigned band_[K][2];
  float bias_, row_[K - 1][kProducts][4];  // row_: the sums of rows to come
};

}  // namespace lite_rtse::cuda
