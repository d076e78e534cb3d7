// The micro-kernels of a recurrent layer whose lanes are sequences, and the layout of weights that they read.
//
// Both micro-kernels of one frame sum scalars of a matrix times lane rows:
//
//   forward    sum[p][u] = bias[p][u] + Σ_i W_ih[k][u][i] x[i] + Σ_j W_hh[k][u][j] h'[j]
//   backward   to[i] += Σ_k Σ_u W[k][u][i] d[p][u]
//
// k is a gate, u a unit, and p the sum to which a gate's product belongs. A cell states this for both matrices: kInput
// and kHidden. Units and inputs are padded to whole tiles. The padding has zero weights, so it stays zero.

constexpr int kUnitTile = kManyRegisters ? 4 : 2;  // units whose sums are computed together
constexpr int kOutputTile = 4;                     // outputs of the transposed product
static_assert(Columns<float>::kMultiple == kOutputTile && kOutputTile % kUnitTile == 0);

// One direction's weights for the forward pass. Tile after tile of units: for each input, the weights of the tile's
// units, gate by gate; then the same for each hidden unit; then the biases of the sums.
template <class Cell, class T>
class RecurrentWeights {
 public:
  static constexpr int64_t kRow = Cell::kGates * kUnitTile;

  RecurrentWeights(const RecurrentArgs& a, int64_t direction)
      : inputs_(a.inputs), units_(a.units), packed_(tiles() * tile_size()) {
    const Buffer<T> w_ih = read_parameter<T>(a.weight_ih[direction], a.dtype, rows() * inputs_);
    const Buffer<T> w_hh = read_parameter<T>(a.weight_hh[direction], a.dtype, rows() * units_);
    const Buffer<T> b_ih = read_parameter<T>(a.bias_ih[direction], a.dtype, rows());
    const Buffer<T> b_hh = read_parameter<T>(a.bias_hh[direction], a.dtype, rows());
    for (int64_t k = 0; k < Cell::kGates; ++k)
      for (int64_t u = 0; u < units_; ++u) {
        const int64_t row = k * units_ + u, lane = u % kUnitTile;
        T* const to = packed_.data() + u / kUnitTile * tile_size();
        for (int64_t i = 0; i < inputs_; ++i) to[i * kRow + k * kUnitTile + lane] = w_ih[row * inputs_ + i];
        for (int64_t j = 0; j < units_; ++j) to[(inputs_ + j) * kRow + k * kUnitTile + lane] = w_hh[row * units_ + j];
        T* const bias = to + (inputs_ + units_) * kRow;
        bias[Cell::kInput[k] * kUnitTile + lane] += b_ih[row];
        bias[Cell::kHidden[k] * kUnitTile + lane] += b_hh[row];
      }
  }
  int64_t tiles() const { return Columns<T>::pad(units_) / kUnitTile; }

  // sums: (kSums, kUnitTile, lanes) of one tile. x: (inputs, lanes); h: (units, lanes).
  void sums(int64_t tile, const T* x, const T* h, T* sums) const {
    constexpr int64_t L = kLanes<T>;
    const T* w = packed_.data() + tile * tile_size();
    const T* const bias = w + (inputs_ + units_) * kRow;
    Vec<T> sum[Cell::kSums][kUnitTile];
#pragma GCC unroll 4
    for (int p = 0; p < Cell::kSums; ++p)
#pragma GCC unroll 4
      for (int u = 0; u < kUnitTile; ++u) sum[p][u] = Vec<T>{} + bias[p * kUnitTile + u];
    for (int64_t i = 0; i < inputs_; ++i, w += kRow) add<Cell::kInput>(w, load(x + i * L), sum);
    for (int64_t j = 0; j < units_; ++j, w += kRow) add<Cell::kHidden>(w, load(h + j * L), sum);
#pragma GCC unroll 4
    for (int p = 0; p < Cell::kSums; ++p)
#pragma GCC unroll 4
      for (int u = 0; u < kUnitTile; ++u) store(sums + (p * kUnitTile + u) * L, sum[p][u]);
  }

 private:
  template <const int (&kTo)[Cell::kGates]>
  static LITE_RTSE_INLINE void add(const T* w, Vec<T> value, Vec<T> (&sum)[Cell::kSums][kUnitTile]) {
#pragma GCC unroll 4
    for (int k = 0; k < Cell::kGates; ++k)
#pragma GCC unroll 4
      for (int u = 0; u < kUnitTile; ++u) sum[kTo[k]][u] += value * w[k * kUnitTile + u];
  }
  int64_t rows() const { return Cell::kGates * units_; }
  int64_t tile_size() const { return (inputs_ + units_) * kRow + Cell::kSums * kUnitTile; }

  int64_t inputs_, units_;
  Buffer<T> packed_;
};

// One matrix for the backward pass, transposed: tile after tile of kOutputTile columns, each with a row for each gate
// and unit.
template <class Cell, class T>
class TransposedWeights {
 public:
  TransposedWeights(const void* weight, DType dtype, int64_t units, int64_t columns)
      : units_(units), columns_(columns), packed_(tiles() * tile_size()) {
    const Buffer<T> w = read_parameter<T>(weight, dtype, Cell::kGates * units * columns);
    for (int64_t row = 0; row < Cell::kGates * units; ++row)
      for (int64_t c = 0; c < columns; ++c)
        packed_[c / kOutputTile * tile_size() + row * kOutputTile + c % kOutputTile] = w[row * columns + c];
  }

  // to: (padded columns, lanes), to which the product is added. d: (kSums, padded units, lanes).
  template <const int (&kFrom)[Cell::kGates]>
  void add_product(const T* d, T* to) const {
    constexpr int64_t L = kLanes<T>;
    int64_t tile = 0;
    for (; tile + 2 <= tiles(); tile += 2) add_tiles<kFrom, 2>(tile, d, to + tile * kOutputTile * L);
    if (tile < tiles()) add_tiles<kFrom, 1>(tile, d, to + tile * kOutputTile * L);
  }

 private:
  template <const int (&kFrom)[Cell::kGates], int N>
  void add_tiles(int64_t tile, const T* d, T* to) const {
    constexpr int64_t L = kLanes<T>;
    const int64_t padded = Columns<T>::pad(units_);
    const T* w = packed_.data() + tile * tile_size();
    const T* const other = w + (N - 1) * tile_size();
    Vec<T> sum[N][kOutputTile];
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 4
      for (int c = 0; c < kOutputTile; ++c) sum[n][c] = load(to + (n * kOutputTile + c) * L);
    for (int k = 0; k < Cell::kGates; ++k) {
      const T* const gate = d + kFrom[k] * padded * L;
      for (int64_t u = 0; u < units_; ++u) {
        const Vec<T> value = load(gate + u * L);
        const int64_t at = (k * units_ + u) * kOutputTile;
#pragma GCC unroll 4
        for (int c = 0; c < kOutputTile; ++c) {
          sum[0][c] += value * w[at + c];
          if constexpr (N == 2) sum[1][c] += value * other[at + c];
        }
      }
    }
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 4
      for (int c = 0; c < kOutputTile; ++c) store(to + (n * kOutputTile + c) * L, sum[n][c]);
  }
  int64_t tiles() const { return Columns<T>::pad(columns_) / kOutputTile; }
  int64_t tile_size() const { return Cell::kGates * units_ * kOutputTile; }

  int64_t units_, columns_;
  Buffer<T> packed_;
};

// The frames of a step of the march over time, in the order in which a direction takes them.
constexpr int64_t recurrent_chunk(int64_t inputs, int64_t units) { return inputs + units <= 64 ? 32 : 16; }

// Frames [first, last) in the order of a direction, as frames of the sequence. The second direction begins at the end.
inline Range in_time(Range steps, int64_t frames, int64_t direction) {
  return direction == 0 ? steps : Range{frames - steps.last, frames - steps.first};
}

// The blocks of sequences that one task computes, one after another.
struct RecurrentTasks {
  int64_t blocks, count;

  RecurrentTasks(int64_t blocks_, int64_t most) : blocks(blocks_), count(std::min(blocks_, most)) {}
  Range operator[](int64_t task) const { return {blocks * task / count, blocks * (task + 1) / count}; }
};

// What the forward pass keeps for the backward pass: for each direction, block of sequences, step, unit and value a row
// of the block's sequences. The last block may have fewer sequences than lanes. Whole vectors are then written in
// ascending order, so each row overwrites what the one before wrote beyond its end. A gap behind each direction takes
// what the last row writes beyond its end. It becomes zero in the end.
template <class Cell, class T>
struct Kept {
  T* data;
  const RecurrentArgs& a;

  static_assert(Cell::kKept == RecurrentArgs::kKeptValues && kLanes<T> <= RecurrentArgs::kKeptGap);
  T* at(LaneBlock block, int64_t direction, int64_t step) const {
    const int64_t values = Cell::kKept * a.units;
    return data + direction * (values * a.frames * a.batch + RecurrentArgs::kKeptGap) +
           values * (block.first * a.frames + step * block.count);
  }
  void clear_gaps() const {
    for (int64_t d = 0; d < a.directions; ++d) std::fill_n(at({a.batch, 0}, d, 0), RecurrentArgs::kKeptGap, T(0));
  }
};
