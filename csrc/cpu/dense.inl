// A matrix times vectors, y = base + W x. The rows of x share the reading of W. Used by the LSTMs of the operator,
// where a row is a frame of a sequence. Also used by the LSTMs and linear layers of the streaming engine, where a row
// belongs to a stream.
//
// Most of the memory traffic is the weights, each read once per frame: one LSTM of the network has 2 MB of them. The
// weights are therefore packed in the order in which they are read. Lanes are outputs; kGroup vectors of outputs are
// computed together, input by input. If there are several rows, one tile of rows after another uses a group while the
// group is in the cache.
//
// Each sum runs over the inputs in order, for any tile size. A row's result thus does not depend on the other rows.

// A tile has 5 · 5 or 2 · 6 sums. The rest of the registers hold its weights and inputs. With 4 · 6 sums of 32
// registers, compilers spill sums.
constexpr int kGroup = kManyRegisters ? 5 : 6;    // vectors of outputs that are summed together
constexpr int kRowTile = kManyRegisters ? 5 : 2;  // rows that are summed together
constexpr int64_t kAheadBytes = 2048;             // how far ahead weights are prefetched

// The packed order of an (outputs, inputs) matrix.
struct DenseShape {
  int64_t outputs, inputs;

  int64_t vectors() const { return ceil_div(outputs, kLanes<float>); }
  int64_t groups() const { return ceil_div(vectors(), kGroup); }
  // The vectors of group g. The vectors are divided among the groups as evenly as possible.
  Range group(int64_t g) const { return {vectors() * g / groups(), vectors() * (g + 1) / groups()}; }
  // The start of group g in the packed matrix.
  int64_t at(int64_t g) const { return group(g).first * kLanes<float> * inputs; }
  // The number of elements that y needs: the outputs, rounded up to a whole vector.
  int64_t padded() const { return vectors() * kLanes<float>; }
  int64_t size() const { return padded() * inputs; }
};

// How weights are stored. In each lane, kWords numbers of 32 bits hold the weights of kInputs inputs. A weight of fewer
// bits is the upper bits of an integer of 32, whose other bits are zero. To unpack it takes shifts and masks of whole
// vectors, which all instruction sets have. Compilers would widen narrow integers in many steps.
template <class W>
struct Format : W {};
template <>
struct Format<float> {
  static constexpr int kInputs = 1, kWords = 1;
  static LITE_RTSE_INLINE void unpack(const float* from, Vec<float>* weight) { weight[0] = load(from); }
};

LITE_RTSE_INLINE Vec<float> to_float(Vec<int32_t> v) { return __builtin_convertvector(v, Vec<float>); }

// The upper 24 bits of three words are a weight each. Their lower 8 bits together are the fourth.
struct Int24 {
  int32_t word;
  static constexpr int kBits = 24, kInputs = 4, kWords = 3;
  static void pack(const int32_t* weight, Int24* to, int64_t stride) {
    for (int i = 0; i < 3; ++i) to[i * stride].word = weight[i] | (weight[3] >> (24 - 8 * i) & 255);
  }
  static LITE_RTSE_INLINE void unpack(const Int24* from, Vec<float>* weight) {
    const int32_t* words = &from->word;
    const Vec<int32_t> a = load(words), b = load(words + kLanes<float>), c = load(words + 2 * kLanes<float>);
    weight[0] = to_float(a & -256);
    weight[1] = to_float(b & -256);
    weight[2] = to_float(c & -256);
    weight[3] = to_float(a << 24 | (b & 255) << 16 | (c & 255) << 8);
  }
};

// A word is several weights, the first one in its upper bits.
template <int Bits>
struct Int {
  int32_t word;
  static constexpr int kBits = Bits, kInputs = 32 / Bits, kWords = 1;
  static void pack(const int32_t* weight, Int* to, int64_t) {
    uint32_t word = 0;
    for (int i = 0; i < kInputs; ++i) word |= uint32_t(weight[i]) >> Bits * i;
    to->word = int32_t(word);
  }
  static LITE_RTSE_INLINE void unpack(const Int* from, Vec<float>* weight) {
    const Vec<int32_t> word = load(&from->word);
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) weight[i] = to_float(word << Bits * i & int32_t(~0u << (32 - Bits)));
  }
};
using Int16 = Int<16>;
using Int8 = Int<8>;

// Computes G vectors of outputs for N rows. w: (steps, G, words, lanes), where a step is Format<W>::kInputs inputs;
// `inputs`: a multiple of them; scale, base[n], y[n]: (G, lanes). y[n] may be base[n]. Integer weights are multiples of
// their output's scale. Float weights have no scale, and the sum begins with the base.
template <class W, int N, int G>
void dense_tile(const W* w, int64_t inputs, const float* scale, const float* const* base, const float* const* x,
                float* const* y) {
  using Stored = Format<W>;
  constexpr int64_t L = kLanes<float>, kStep = Stored::kInputs, kWords = G * Stored::kWords * L;
  constexpr bool kScaled = !std::is_same_v<W, float>;
  Vec<float> sum[N][G];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) sum[n][g] = kScaled ? Vec<float>{} : load(base[n] + g * L);
  for (int64_t at = 0; at < inputs; at += kStep, w += kWords) {
#pragma GCC unroll 32
    for (int64_t i = 0; i < kWords; i += 16) __builtin_prefetch(reinterpret_cast<const char*>(w + i) + kAheadBytes);
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) {
      Vec<float> weight[kStep];
      Stored::unpack(w + g * Stored::kWords * L, weight);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kStep; ++i)
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sum[n][g] += weight[i] * x[n][at + i];
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) {
      if constexpr (kScaled) sum[n][g] = load(base[n] + g * L) + load(scale + g * L) * sum[n][g];
      store(y[n] + g * L, sum[n][g]);
    }
}

// The same for 1 to kRowTile rows and 1 to kGroup vectors.
template <class W, int N, int G = kGroup>
void dense_group(int64_t vectors, const W* w, int64_t inputs, const float* scale, const float* const* base,
                 const float* const* x, float* const* y) {
  if constexpr (G > 1)
    if (vectors < G) return dense_group<W, N, G - 1>(vectors, w, inputs, scale, base, x, y);
  dense_tile<W, N, G>(w, inputs, scale, base, x, y);
}
template <class W, int N = kRowTile>
void dense_rows(int64_t rows, int64_t vectors, const W* w, int64_t inputs, const float* scale, const float* const* base,
                const float* const* x, float* const* y) {
  if constexpr (N > 1)
    if (rows < N) return dense_rows<W, N - 1>(rows, vectors, w, inputs, scale, base, x, y);
  dense_group<W, N>(vectors, w, inputs, scale, base, x, y);
}

// Packs group g of an (outputs, inputs) matrix, whose rows begin `stride` numbers apart. The lanes beyond the last
// output are zero.
inline void pack_dense_group(const float* weight, int64_t stride, DenseShape shape, int64_t g, float* packed) {
  constexpr int64_t L = kLanes<float>;
  const Range vectors = shape.group(g);
  for (int64_t v = 0; v < vectors.size(); ++v) {
    const int64_t first = (vectors.first + v) * L, count = std::min(L, shape.outputs - first);
    const float* row[L] = {};
    for (int64_t l = 0; l < count; ++l) row[l] = weight + (first + l) * stride;
    to_lanes_apart(row, count, shape.inputs, packed + v * L, vectors.size() * L);
  }
}
inline void pack_dense_group(const float* weight, DenseShape shape, int64_t g, float* packed) {
  pack_dense_group(weight, shape.inputs, shape, g, packed);
}

// to[i] = from[i] for i < n, in whole vectors; the last vector overlaps the one before. This serves pieces of a few
// vectors, for which a call of memcpy would cost as much as the copy.
LITE_RTSE_INLINE void copy_row(const float* from, int64_t n, float* to) {
  constexpr int64_t L = kLanes<float>;
  if (n < L) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i < n - L; i += L) store_unaligned(to + i, load_unaligned(from + i));
  store_unaligned(to + n - L, load_unaligned(from + n - L));
}

// Packs outputs [first, first + count) of a matrix that is stored transposed. row(i) points to the weights of these
// outputs for input i. The lanes beyond the last output are filled with zeros, together with that output.
template <class Row>
void pack_dense_outputs(int64_t first, int64_t count, DenseShape shape, Row row, float* packed) {
  constexpr int64_t L = kLanes<float>;
  const Range outputs{first, first + count};
  for (int64_t g = 0; g < shape.groups(); ++g) {
    const Range group{shape.group(g).first * L, shape.group(g).last * L}, part = outputs.clip(group.first, group.last);
    const int64_t beyond = part.last == shape.outputs ? group.last - part.last : 0;
    float* to = packed + shape.at(g) + part.first - group.first;
    if (part.size() == 0) continue;
    for (int64_t i = 0; i < shape.inputs; ++i, to += group.size()) {
      copy_row(row(i) + part.first - first, part.size(), to);
      std::fill_n(to + part.size(), beyond, 0.0f);
    }
  }
}

// Computes group g of z = base(z) + W x(row) for all rows. w: the packed group; z: (rows, padded outputs).
template <class Input, class Base>
void dense_product(DenseShape shape, int64_t g, const float* w, int64_t rows, float* z, Input x, Base base) {
  const Range vectors = shape.group(g);
  z += vectors.first * kLanes<float>;
  for (int64_t row = 0; row < rows; row += kRowTile) {
    const int64_t count = std::min<int64_t>(kRowTile, rows - row);
    const float *from[kRowTile] = {}, *add[kRowTile] = {};
    float* to[kRowTile] = {};
    for (int64_t r = 0; r < count; ++r) {
      from[r] = x(row + r);
      to[r] = z + (row + r) * shape.padded();
      add[r] = base(to[r]);
    }
    dense_rows(count, vectors.size(), w, shape.inputs, nullptr, add, from, to);
  }
}
