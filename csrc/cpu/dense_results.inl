// Products with several results, which lie side by side in the packed matrix and anywhere in memory.

// to[r * stride + i] = row(i)[r] for i < count and r < rows. The stride is a multiple of a vector, and at least
// `count`.
template <class Row>
void transpose_rows(int64_t count, int64_t rows, Row row, float* to, int64_t stride) {
  constexpr int64_t L = kLanes<float>;
  for (int64_t i = 0; i < count; i += L) {
    const int64_t together = std::min(L, count - i);
    const float* from[L] = {};
    for (int64_t l = 0; l < together; ++l) from[l] = row(i + l);
    to_lanes_apart(from, together, rows, to + i, stride);
  }
}

// One of several matrices side by side, which a product computes together: (rows, columns), with `stride` numbers from
// one row to the next.
struct DenseResult {
  float* data;
  int64_t stride, columns;
};

// to[i] += from[i] for i < n, in whole vectors. The last vector overlaps the one before, so its sum is found first.
LITE_RTSE_INLINE void add_row(const float* from, int64_t n, float* to) {
  constexpr int64_t L = kLanes<float>;
  if (n < L) {
    for (int64_t i = 0; i < n; ++i) to[i] += from[i];
    return;
  }
  const Vec<float> last = load_unaligned(to + n - L) + load_unaligned(from + n - L);
  for (int64_t i = 0; i < n - L; i += L) store_unaligned(to + i, load_unaligned(to + i) + load_unaligned(from + i));
  store_unaligned(to + n - L, last);
}

// Computes results(row) = start[row] + Σ left(row, term) right(term) for rows that are not padded. The columns of all
// results are those of `right`.
class DenseTile {
 public:
  DenseTile() = default;
  explicit DenseTile(Arena& arena) : rows_(arena.take<float>(kRowTile * kWidth)) {}

  // right: packed; left(row): the factors of a row, one for each term. With `more`, the sum of the terms is added to
  // the values in the results. Otherwise it begins with start[row]; null means zeros.
  template <class Left>
  void add(DenseShape shape, const float* right, int64_t rows, const std::vector<DenseResult>& results, Left left,
           const float* start, bool more) const {
    for (int64_t g = 0; g < shape.groups(); ++g)
      add_group(shape, g, right + shape.at(g), rows, results, left, start, more);
  }

 private:
  static constexpr int64_t kWidth = kGroup * kLanes<float>;
  alignas(kVectorBytes) static constexpr float kZeros[kWidth] = {};

  // The columns of a result that lie in a group of columns: `count` of them, from the group's column `at` on.
  struct Piece {
    float* data;  // points into the first row
    int64_t stride, at, count;
  };
  static std::vector<Piece> pieces(const std::vector<DenseResult>& results, Range group) {
    std::vector<Piece> found;
    int64_t before = 0;
    for (const DenseResult& r : results) {
      const Range part = Range{before, before + r.columns}.clip(group.first, group.last);
      if (part.size() > 0)
        found.push_back({r.data + part.first - before, r.stride, part.first - group.first, part.size()});
      before += r.columns;
    }
    return found;
  }

  template <class Left>
  void add_group(DenseShape shape, int64_t g, const float* right, int64_t rows, const std::vector<DenseResult>& results,
                 Left left, const float* start, bool more) const {
    constexpr int64_t L = kLanes<float>;
    const Range vectors = shape.group(g), columns{vectors.first * L, vectors.last * L};
    const std::vector<Piece> parts = pieces(results, columns);
    const float *from[kRowTile] = {}, *base[kRowTile] = {};
    float* to[kRowTile] = {};
    for (int64_t r = 0; r < kRowTile; ++r) {
      to[r] = rows_ + r * columns.size();
      base[r] = start && !more ? to[r] : kZeros;
    }
    for (int64_t row = 0; row < rows; row += kRowTile) {
      const int64_t count = std::min<int64_t>(kRowTile, rows - row);
      for (int64_t r = 0; r < count; ++r) {
        from[r] = left(row + r);
        if (start && !more) std::fill_n(to[r], columns.size(), start[row + r]);
      }
      dense_rows(count, vectors.size(), right, shape.inputs, nullptr, base, from, to);
      for (const Piece& p : parts)
        for (int64_t r = 0; r < count; ++r) {
          float* const result = p.data + (row + r) * p.stride;
          more ? add_row(to[r] + p.at, p.count, result) : copy_row(to[r] + p.at, p.count, result);
        }
    }
  }

  float* rows_ = nullptr;  // (kRowTile, a group's columns)
};

// Sums of many chunks of terms. The results are sums of up to kTogether chunks in float32. These are added in float64.
// The rounding error thus does not grow with the number of chunks.
class ChunkSums {
 public:
  ChunkSums() = default;
  // size: the number of sums.
  ChunkSums(Arena& arena, int64_t chunks, int64_t size)
      : chunks_(chunks), sums_(arena.take<double>(chunks > kTogether ? size : 0)) {}

  // Whether chunk i is added to the values in the results, or replaces them.
  static bool more(int64_t i) { return i % kTogether > 0; }

  // The results contain chunk i. After the last chunk they become the sums of all chunks.
  void end_chunk(int64_t i, int64_t rows, const std::vector<DenseResult>& results) const {
    const bool last = i + 1 == chunks_;
    if (chunks_ <= kTogether || (more(i + 1) && !last)) return;
    double* sum = sums_;
    for (const DenseResult& r : results)
      for (int64_t row = 0; row < rows; ++row, sum += r.columns)
        add(i < kTogether, last, r.columns, r.data + row * r.stride, sum);
  }

 private:
  static constexpr int64_t kTogether = 64;

  static void add(bool first, bool last, int64_t n, float* result, double* sum) {
    if (first) std::fill_n(sum, n, 0.0);
    LITE_RTSE_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) sum[i] += double(result[i]);
    for (int64_t i = 0; i < n && last; ++i) result[i] = float(sum[i]);
  }

  int64_t chunks_ = 0;
  double* sums_ = nullptr;
};
