// The gradients of a recurrent layer that need no recursion: those of x and of the weights. Lanes are sequences, or
// frames of a few sequences. The gradient of a matrix is an outer product that is summed over frames and lanes,
//
//   dW[k][u][i] += Σ_t Σ_lanes d[t][p][u] x[t][i].
//
// Each task has its own sums, which `write` adds in order. The number of tasks depends on the sizes alone, so the
// result does not depend on the threads.

constexpr int kGradientTile = kManyRegisters ? 4 : 2;  // columns of a tile of the weight gradient, which has 4 rows

// to[r * C + c] += Σ_t Σ_lanes d[t][r] x[t][c], for 4 rows and C columns. The tile's sums over the lanes are found
// together, by a transposition.
template <class T>
void add_outer_tile(const T* d, int64_t d_step, const T* x, int64_t x_step, int64_t frames, T* to) {
  constexpr int64_t L = kLanes<T>;
  constexpr int R = 4, C = kGradientTile;
  static_assert(R * C % L == 0);
  Vec<T> sum[R * C];
#pragma GCC unroll 16
  for (int i = 0; i < R * C; ++i) sum[i] = Vec<T>{};
  for (int64_t t = 0; t < frames; ++t, d += d_step, x += x_step) {
    Vec<T> row[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) row[r] = load(d + r * L);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const Vec<T> column = load(x + c * L);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r * C + c] += row[r] * column;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R * C; i += int(L)) {
    transpose<T>(sum + i);
    Vec<T> total = sum[i];
#pragma GCC unroll 16
    for (int l = 1; l < L; ++l) total += sum[i + l];
    add_to(to + i, total);
  }
}

// The gradient of one matrix, (gates, padded units, padded columns), in tiles of 4 units and kGradientTile columns.
template <class Cell, class T>
struct OuterSums {
  int64_t units, columns;

  int64_t row_tiles() const { return Columns<T>::pad(units) / 4; }
  int64_t column_tiles() const { return Columns<T>::pad(columns) / kGradientTile; }
  int64_t size() const { return Cell::kGates * Columns<T>::pad(units) * Columns<T>::pad(columns); }

  // d: (frames, kSums, padded units, lanes); x: (frames, padded columns, lanes).
  template <const int (&kFrom)[Cell::kGates]>
  void add(const T* d, const T* x, int64_t frames, T* to) const {
    constexpr int64_t L = kLanes<T>;
    const int64_t padded = Columns<T>::pad(units);
    for (int k = 0; k < Cell::kGates; ++k)
      for (int64_t r = 0; r < row_tiles(); ++r)
        for (int64_t c = 0; c < column_tiles(); ++c, to += 4 * kGradientTile)
          add_outer_tile(d + (kFrom[k] * padded + 4 * r) * L, Cell::kSums * padded * L, x + c * kGradientTile * L,
                         Columns<T>::pad(columns) * L, frames, to);
  }
  // Writes the (gates · units, columns) matrix.
  void write(const T* sums, DType dtype, void* to) const {
    const Buffer<T> matrix(Cell::kGates * units * columns);
    for (int64_t k = 0; k < Cell::kGates; ++k)
      for (int64_t u = 0; u < units; ++u)
        for (int64_t c = 0; c < columns; ++c) {
          const int64_t tile = (k * row_tiles() + u / 4) * column_tiles() + c / kGradientTile;
          matrix[(k * units + u) * columns + c] = sums[(tile * 4 + u % 4) * kGradientTile + c % kGradientTile];
        }
    write_parameter(to, dtype, matrix);
  }
};

// The sums of all tasks, and the weights for the gradient of x. Rows are those of a chunk of frames. d: (frames, kSums,
// padded units, lanes); x and dx: (frames, padded inputs, lanes); before, the state before each frame: (frames, padded
// units, lanes).
template <class Cell, class T>
class RecurrentGradients {
 public:
  RecurrentGradients(const RecurrentBackwardArgs& a, int64_t blocks)
      : a_(a), f_(a_.forward), of_ih_{f_.units, f_.inputs}, of_hh_{f_.units, f_.units},
        tasks_(blocks, std::clamp<int64_t>(kMostSums / (f_.directions * size()), 1, kMostTasks)),
        sums_(wants_parameters() ? tasks_.count * f_.directions * size() : 0) {
    for (int64_t d = 0; a.dx && d < f_.directions; ++d)
      weight_ih_.emplace_back(f_.weight_ih[d], f_.dtype, f_.units, f_.inputs);
  }
  const RecurrentTasks& tasks() const { return tasks_; }
  bool wants_parameters() const { return a_.dweight_hh[0] != nullptr; }

  void add_parameters(int64_t task, int64_t direction, int64_t frames, const T* d, const T* x, const T* before) const {
    T* const to = sums(task, direction);
    of_ih_.template add<Cell::kInput>(d, x, frames, to);
    of_hh_.template add<Cell::kHidden>(d, before, frames, to + of_ih_.size());
    add_biases(d, frames, to + bias_at());
  }
  void add_input(int64_t direction, int64_t frames, const T* d, T* dx) const {
    const int64_t size = Columns<T>::pad(f_.inputs) * kLanes<T>;
    for (int64_t t = 0; t < frames; ++t)
      weight_ih_[direction].template add_product<Cell::kInput>(d + t * lanes_size(), dx + t * size);
  }
  void write() const {
    for (int64_t d = 0; d < f_.directions && wants_parameters(); ++d) {
      const Buffer<T> total(size());
      for (int64_t task = 0; task < tasks_.count; ++task) accumulate(sums(task, d), size(), total.data());
      of_ih_.write(total.data(), f_.dtype, a_.dweight_ih[d]);
      of_hh_.write(total.data() + of_ih_.size(), f_.dtype, a_.dweight_hh[d]);
      write_bias(total.data() + bias_at(), Cell::kInput, a_.dbias_ih[d]);
      write_bias(total.data() + bias_at(), Cell::kHidden, a_.dbias_hh[d]);
    }
  }

 private:
  // The numbers that the sums of all tasks may have together.
  static constexpr int64_t kMostSums = int64_t(1) << 22, kMostTasks = 64;

  // The sums of one task and direction: dW_ih, dW_hh, and for the biases (kSums, padded units, lanes).
  int64_t bias_at() const { return of_ih_.size() + of_hh_.size(); }
  int64_t lanes_size() const { return Cell::kSums * Columns<T>::pad(f_.units) * kLanes<T>; }
  int64_t size() const { return bias_at() + lanes_size(); }
  // The frames of a chunk are summed first, as in add_outer_tile. The rounding error then grows with the chunks only.
  void add_biases(const T* d, int64_t frames, T* to) const {
    for (int64_t i = 0; i < lanes_size(); i += kLanes<T>) {
      Vec<T> sum{};
      for (int64_t t = 0; t < frames; ++t) sum += load(d + t * lanes_size() + i);
      add_to(to + i, sum);
    }
  }
  T* sums(int64_t task, int64_t d) const { return sums_.data() + (task * f_.directions + d) * size(); }

  void write_bias(const T* sums, const int (&plane)[Cell::kGates], void* to) const {
    const Buffer<T> bias(Cell::kGates * f_.units);
    for (int64_t k = 0; k < Cell::kGates; ++k)
      for (int64_t u = 0; u < f_.units; ++u)
        bias[k * f_.units + u] = lane_sum<T>(load(sums + (plane[k] * Columns<T>::pad(f_.units) + u) * kLanes<T>));
    write_parameter(to, f_.dtype, bias);
  }

  const RecurrentBackwardArgs a_;
  const RecurrentArgs& f_;
  const OuterSums<Cell, T> of_ih_, of_hh_;
  const RecurrentTasks tasks_;
  const Buffer<T> sums_;
  std::vector<TransposedWeights<Cell, T>> weight_ih_;
};
