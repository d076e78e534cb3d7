// Depthwise convolution of lane rows: the three micro-kernels of all depthwise stages.
//
//   y[r][f]  = bias + Σ_ij w[i][j] x[r + i][f + j]           forward; with flipped weights, the input gradient
//   dw[i][j] += Σ_rf g[r][f] x[r + i][f + j],  db += Σ g     weight gradient
//
// Every product is elementwise over lanes; one lane holds one channel. x[r] points at the first padding column of a
// row.
//
// Register tiles. A processor starts two multiply-adds per cycle, each with a latency of four cycles. This needs at
// least eight independent sums, and more if the sums of a tile begin and end at different times.
//   forward: kTile sums and the kw weights of a tap row stay in registers. Each x is loaded once for up to kw
//     multiply-adds: (kTile + kw - 1) + kw loads for kTile·kw of them, 29 for 112 at kTile = 16, kw = 7.
//   weight gradient: the sums of two tap rows, or of one tap row in two frames, 14 at kw = 7.
// A tile walks down the frames before it moves along the bins. Then kh - 1 of its kh input rows are still in the
// first-level cache.

// Taps of a kernel whose size is known at compile time (Taps) or only at run time (AnyTaps).
template <int K>
struct Taps {
  static constexpr int rows = K, columns = K, kColumns = K;
};
struct AnyTaps {
  static constexpr int kColumns = 0;
  int64_t rows, columns;
};

// Adds the contribution of all taps to the sums of N bins from `at` on.
template <class T, int N, class Shape>
LITE_RTSE_INLINE void accumulate_tile(Shape taps, Vec<T>* sum, const T* const* x, int64_t at, const T* w) {
  constexpr int64_t L = kLanes<T>;
  constexpr int K = Shape::kColumns;
  for (int64_t i = 0; i < taps.rows; ++i) {
    const T* xi = in_register(x[i] + at);
    if constexpr (K > 0) {
      Vec<T> wi[K];
#pragma GCC unroll 16
      for (int j = 0; j < K; ++j) wi[j] = load(w + (i * K + j) * L);
#pragma GCC unroll 32
      for (int m = 0; m < N + K - 1; ++m) {
        const Vec<T> xm = load(xi + m * L);
#pragma GCC unroll 16
        for (int j = 0; j < K; ++j)
          if (m - j >= 0 && m - j < N) sum[m - j] += xm * wi[j];
      }
    } else {
      for (int64_t j = 0; j < taps.columns; ++j) {
        const Vec<T> wij = load(w + (i * taps.columns + j) * L);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) sum[n] += load(xi + (n + j) * L) * wij;
      }
    }
  }
}

template <class T, int N>
LITE_RTSE_INLINE void store_tile(T* y, const Vec<T>* sum) {
  y = in_register(y);
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) store(y + n * kLanes<T>, sum[n]);
}

template <class T, int N, class Shape>
LITE_RTSE_INLINE void convolve_tile(Shape taps, T* y, const T* const* x, int64_t at, const T* w, Vec<T> bias) {
  Vec<T> sum[N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) sum[n] = bias;
  accumulate_tile<T, N>(taps, sum, x, at, w);
  store_tile<T, N>(y + at, sum);
}

// One column of R frames. It has R independent sums; a tile of one bin would wait for its own single sum.
template <class T, int R, class Shape>
LITE_RTSE_INLINE void convolve_column(Shape taps, T* const* y, const T* const* x, int64_t at, const T* w, Vec<T> bias) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> sum[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = bias;
  for (int64_t i = 0; i < taps.rows; ++i)
    for (int64_t j = 0; j < taps.columns; ++j) {
      const Vec<T> wij = load(w + (i * taps.columns + j) * L);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[r] += load(x[r + i] + at + j * L) * wij;
    }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) store(y[r] + at, sum[r]);
}

// y: `rows` lane rows; x: rows + taps.rows - 1 padded lane rows; w: (taps, lanes); bias: (lanes).
template <class T, class Shape>
void convolve_rows(Shape taps, T* const* y, const T* const* x, int64_t rows, int64_t bins, const T* w, const T* bias) {
  constexpr int64_t L = kLanes<T>;
  const Vec<T> b = load(bias);
  int64_t f = 0;
  for (; f + kTile <= bins; f += kTile)
    for (int64_t r = 0; r < rows; ++r) convolve_tile<T, kTile>(taps, y[r], x + r, f * L, w, b);
  for (; f + kRest <= bins; f += kRest)
    for (int64_t r = 0; r < rows; ++r) convolve_tile<T, kRest>(taps, y[r], x + r, f * L, w, b);
  for (; f < bins; ++f) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) convolve_column<T, 4>(taps, y + r, x + r, f * L, w, b);
    for (; r < rows; ++r) convolve_column<T, 1>(taps, y + r, x + r, f * L, w, b);
  }
}

// Adds the contribution of N bins to the sums of two rows of taps. sum[0] uses the gradients g0 and inputs x0, sum[1]
// uses g1 and x1. With Bias it also adds the gradients themselves to sum[.][K].
template <class T, int N, int K, bool Bias>
LITE_RTSE_INLINE void weight_gradient_tile(const T* g0, const T* g1, const T* x0, const T* x1, Vec<T> (*sum)[K + 1]) {
  constexpr int64_t L = kLanes<T>;
  g0 = in_register(g0), g1 = in_register(g1), x0 = in_register(x0), x1 = in_register(x1);
  Vec<T> gn[2][N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) gn[0][n] = load(g0 + n * L), gn[1][n] = load(g1 + n * L);
#pragma GCC unroll 32
  for (int m = 0; m < N + K - 1; ++m) {
    const Vec<T> xm[2] = {load(x0 + m * L), load(x1 + m * L)};
#pragma GCC unroll 16
    for (int j = 0; j < K; ++j)
      if (m - j >= 0 && m - j < N) sum[0][j] += xm[0] * gn[0][m - j], sum[1][j] += xm[1] * gn[1][m - j];
    if (Bias && m < N) sum[0][K] += gn[0][m], sum[1][K] += gn[1][m];
  }
}

// One row of taps, and the bias, for N bins of one frame.
template <class T, int N>
LITE_RTSE_INLINE void weight_gradient_row(int64_t columns, const T* g, const T* x, T* dw, T* db) {
  constexpr int64_t L = kLanes<T>;
  for (int64_t j = 0; j < columns; ++j) {
    Vec<T> sum{};
    for (int n = 0; n < N; ++n) sum += load(g + n * L) * load(x + (n + j) * L);
    add_to(dw + j * L, sum);
  }
  Vec<T> sum{};
  for (int n = 0; n < N; ++n) sum += load(g + n * L);
  add_to(db, sum);
}

// All tap rows for N bins from `at` on. Tap rows are computed in pairs. The last tap row, and with it the bias, is
// computed by pairs of frames. The sums of a tile start at zero and are added to dw once. Each running sum then has few
// terms, and the rounding error does not grow with the length of the utterance.
template <class T, int N, int K>
LITE_RTSE_INLINE void weight_gradient_bins(Taps<K>, const T* const* g, const T* const* x, int64_t rows, int64_t at,
                                           T* dw, T* db) {
  constexpr int64_t L = kLanes<T>;
  for (int64_t i = 0; i + 1 < K; i += 2) {
    Vec<T> sum[2][K + 1] = {};
    for (int64_t r = 0; r < rows; ++r)
      weight_gradient_tile<T, N, K, false>(g[r] + at, g[r] + at, x[r + i] + at, x[r + 1 + i] + at, sum);
#pragma GCC unroll 16
    for (int j = 0; j < K; ++j) add_to(dw + (i * K + j) * L, sum[0][j]), add_to(dw + ((i + 1) * K + j) * L, sum[1][j]);
  }
  x += K - 1;
  dw += (K - 1) * K * L;
  Vec<T> sum[2][K + 1] = {};
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2)
    weight_gradient_tile<T, N, K, true>(g[r] + at, g[r + 1] + at, x[r] + at, x[r + 1] + at, sum);
#pragma GCC unroll 16
  for (int j = 0; j < K; ++j) add_to(dw + j * L, sum[0][j] + sum[1][j]);
  add_to(db, sum[0][K] + sum[1][K]);
  if (r < rows) weight_gradient_row<T, N>(K, g[r] + at, x[r] + at, dw, db);
}
template <class T, int N>
LITE_RTSE_INLINE void weight_gradient_bins(AnyTaps taps, const T* const* g, const T* const* x, int64_t rows, int64_t at,
                                           T* dw, T* db) {
  constexpr int64_t L = kLanes<T>;
  for (int64_t i = 0; i < taps.rows; ++i)
    for (int64_t j = 0; j < taps.columns; ++j) {
      Vec<T> sum{};
      for (int64_t r = 0; r < rows; ++r)
        for (int n = 0; n < N; ++n) sum += load(g[r] + at + n * L) * load(x[r + i] + at + (n + j) * L);
      add_to(dw + (i * taps.columns + j) * L, sum);
    }
  Vec<T> sum{};
  for (int64_t r = 0; r < rows; ++r)
    for (int n = 0; n < N; ++n) sum += load(g[r] + at + n * L);
  add_to(db, sum);
}

// g: `rows` lane rows; x: rows + taps.rows - 1 padded lane rows; dw: (taps, lanes), db: (lanes). Adds to dw and db.
template <class T, class Shape>
void weight_gradient_rows(Shape taps, const T* const* g, const T* const* x, int64_t rows, int64_t bins, T* dw, T* db) {
  constexpr int64_t L = kLanes<T>;
  int64_t f = 0;
  for (; f + kTile <= bins; f += kTile) weight_gradient_bins<T, kTile>(taps, g, x, rows, f * L, dw, db);
  for (; f + kRest <= bins; f += kRest) weight_gradient_bins<T, kRest>(taps, g, x, rows, f * L, dw, db);
  for (; f < bins; ++f) weight_gradient_bins<T, 1>(taps, g, x, rows, f * L, dw, db);
}

// w[i][j] -> w[kh - 1 - i][kw - 1 - j] for (taps, lanes) weights. The input gradient of a convolution is a convolution
// with these weights, over the rows from t to t + kh - 1 instead of t - kh + 1 to t.
template <class T>
void flip_taps(const T* w, int64_t taps, T* flipped) {
  for (int64_t i = 0; i < taps; ++i) store(flipped + i * kLanes<T>, load(w + (taps - 1 - i) * kLanes<T>));
}

// The specialized sizes are those of the network; any other size runs the general loops.
template <class T>
struct Depthwise {
  int64_t rows, columns;
  int64_t taps() const { return rows * columns; }
  void convolve(T* const* y, const T* const* x, int64_t n, int64_t bins, const T* w, const T* bias) const {
    if (rows == 7 && columns == 7) return convolve_rows<T>(Taps<7>(), y, x, n, bins, w, bias);
    if (rows == 3 && columns == 3) return convolve_rows<T>(Taps<3>(), y, x, n, bins, w, bias);
    convolve_rows<T>(AnyTaps{rows, columns}, y, x, n, bins, w, bias);
  }
  void weight_gradient(const T* const* g, const T* const* x, int64_t n, int64_t bins, T* dw, T* db) const {
    if (rows == 7 && columns == 7) return weight_gradient_rows<T>(Taps<7>(), g, x, n, bins, dw, db);
    if (rows == 3 && columns == 3) return weight_gradient_rows<T>(Taps<3>(), g, x, n, bins, dw, db);
    weight_gradient_rows<T>(AnyTaps{rows, columns}, g, x, n, bins, dw, db);
  }
};
