// Gradients of an LSTM over whole sequences.
//
// z = W_ih x + W_hh h' + b are a frame's gates before their activation. h' and c' are the state before the frame:
//
//     i = σ(z_i), f = σ(z_f), g = tanh(z_g), o = σ(z_o),   c = f c' + i g,   h = o tanh(c).
//
// σ' = σ (1 - σ) and tanh' = 1 - tanh². The gradients with respect to a frame's h and c thus give those with respect to
// its z and to the state before it. y' is the output of the frame before and has its own gradient:
//
//     dc += dh o (1 - tanh² c)
//     dz_i = dc g i (1 - i),   dz_f = dc c' f (1 - f),   dz_g = dc i (1 - g²),   dz_o = dh tanh(c) o (1 - o)
//     dh' = dy' + W_hhᵀ dz,   dc' = dc f
//
// Only this recursion advances frame by frame, beginning with the last frame. The rest are sums over all frames of all
// sequences,
//
//     dx = W_ihᵀ dz for each frame,   dW_ih = Σ dz xᵀ,   dW_hh = Σ dz h'ᵀ,   db = Σ dz,
//
// The last three of these are one product, Σ dz [x, h', 1]ᵀ. There are therefore two jobs, one after the other. The
// first is divided by sequences, as in LstmJob, the second by rows of the products. Every sum has a fixed order that
// does not depend on the threads.

// Computes dz of one frame, and turns this frame's dc into that of the frame before. It adds dy and dh. gates, dz: (4
// units).
inline void lstm_cell_backward(const float* gates, const float* cell, const float* cell_before, const float* dy,
                               const float* dh, int64_t units, float* dc, float* dz) {
  const float *gi = gates, *gf = gates + units, *gg = gates + 2 * units, *go = gates + 3 * units;
  float *zi = dz, *zf = dz + units, *zg = dz + 2 * units, *zo = dz + 3 * units;
  LITE_RTSE_INDEPENDENT
  for (int64_t u = 0; u < units; ++u) {
    const float i = gi[u], f = gf[u], g = gg[u], o = go[u];
    const float tanh_c = hyperbolic_tangent(cell[u]), by_h = dy[u] + dh[u];
    const float by_c = dc[u] + by_h * o * (1 - tanh_c * tanh_c);
    zi[u] = by_c * g * i * (1 - i);
    zf[u] = by_c * cell_before[u] * f * (1 - f);
    zg[u] = by_c * i * (1 - g * g);
    zo[u] = by_h * tanh_c * o * (1 - o);
    dc[u] = by_c * f;
  }
}

// Computes dx and the parameters' gradients from the complete dz.
class LstmProductsJob final : public Job {
 public:
  explicit LstmProductsJob(const LstmBackwardArgs& a)
      : a_(a), f_(a_.forward), gates_(4 * f_.units), frames_(f_.batch * f_.frames),
        of_dx_(a.dx && f_.inputs > 0 ? ceil_div(frames_, kFrames) : 0),
        of_weights_(a.dweight_hh ? ceil_div(gates_, kGates) : 0) {}

  int64_t tasks() const override { return of_dx_ + of_weights_; }

  void run(int64_t task) override {
    if (task < of_dx_) return input_gradient(part(frames_, of_dx_, task));
    parameter_gradients(part(gates_, of_weights_, task - of_dx_));
  }

 private:
  // The number of terms of a sum that are computed together; a multiple of a whole vector. It is small enough to keep
  // the packed columns in the second-level cache. It is large enough to make reading and writing the results
  // negligible.
  static constexpr int64_t kTerms = 256;
  // The number of rows of a task. It is large enough to make packing the columns, which each task repeats, negligible.
  static constexpr int64_t kFrames = 256, kGates = 192;

  struct Scratch {
    float* columns;  // packed, of a chunk of terms
    float* dz;       // (rows, kTerms): dz transposed, used if the rows are gates
    DenseTile tile;
    ChunkSums sums;
    float* zeros;  // for the units
  };

  // Part i of `count` of [0, total), in whole tiles.
  static Range part(int64_t total, int64_t count, int64_t i) {
    const int64_t size = ceil_div(ceil_div(total, count), kRowTile) * kRowTile;
    return Range{i * size, (i + 1) * size}.clip(0, total);
  }

  // For the sums of `terms` products of (rows, columns).
  Scratch scratch(int64_t rows, int64_t columns, int64_t terms, int64_t transposed_rows) const {
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.columns = arena.take<float>(DenseShape{columns, kTerms}.size());
      s.dz = arena.take<float>(transposed_rows * kTerms);
      s.tile = DenseTile(arena);
      s.sums = ChunkSums(arena, ceil_div(terms, kTerms), rows * columns);
      s.zeros = arena.take<float>(f_.units);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    std::fill_n(s.zeros, f_.units, 0.0f);
    return s;
  }

  void input_gradient(Range frames) const {
    const int64_t inputs = f_.inputs;
    const Scratch s = scratch(frames.size(), inputs, gates_, 0);
    const auto weights = [&](Range gates, DenseShape shape) {
      const auto row = [&](int64_t i) { return f_.weight_ih + (gates.first + i) * inputs; };
      pack_dense_outputs(0, inputs, shape, row, s.columns);
    };
    const auto dz = [&](Range gates) {
      return [this, frames, gates](int64_t row) { return a_.dz + (frames.first + row) * gates_ + gates.first; };
    };
    product(frames.size(), gates_, {{a_.dx + frames.first * inputs, inputs, inputs}}, s, weights, dz);
  }

  void parameter_gradients(Range gates) const {
    const int64_t inputs = f_.inputs, units = f_.units;
    const Scratch s = scratch(gates.size(), inputs + units + 1, frames_, gates.size());
    float ones[kLanes<float>];
    std::fill_n(ones, kLanes<float>, 1.0f);
    const auto inputs_of = [&](Range frames, DenseShape shape) {
      const auto x = [&](int64_t i) { return f_.x + (frames.first + i) * inputs; };
      const auto state = [&](int64_t i) { return state_before(frames.first + i, s.zeros); };
      pack_dense_outputs(0, inputs, shape, x, s.columns);
      pack_dense_outputs(inputs, units, shape, state, s.columns);
      if (a_.dbias) pack_dense_outputs(inputs + units, 1, shape, [&](int64_t) { return ones; }, s.columns);
    };
    const auto dz = [&](Range frames) {
      const auto row = [&](int64_t i) { return a_.dz + (frames.first + i) * gates_ + gates.first; };
      transpose_rows(frames.size(), gates.size(), row, s.dz, kTerms);
      return [&s](int64_t row) { return s.dz + row * kTerms; };
    };
    std::vector<DenseResult> results = {{a_.dweight_ih + gates.first * inputs, inputs, inputs},
                                        {a_.dweight_hh + gates.first * units, units, units}};
    if (a_.dbias) results.push_back({a_.dbias + gates.first, 1, 1});
    product(gates.size(), frames_, results, s, inputs_of, dz);
  }

  // results(row) = Σ left(row, term) right(term), one chunk of terms after another. pack(chunk, shape) packs `right`
  // into s.columns. left(chunk) returns the function from a row to its factors for the chunk.
  template <class Pack, class Left>
  static void product(int64_t rows, int64_t terms, const std::vector<DenseResult>& results, const Scratch& s, Pack pack,
                      Left left) {
    int64_t columns = 0;
    for (const DenseResult& r : results) columns += r.columns;
    for (int64_t first = 0; first == 0 || first < terms; first += kTerms) {
      const Range chunk{first, std::min(first + kTerms, terms)};
      const DenseShape shape{columns, chunk.size()};
      pack(chunk, shape);
      const auto factors = left(chunk);
      s.tile.add(shape, s.columns, rows, results, factors, nullptr, s.sums.more(first / kTerms));
      s.sums.end_chunk(first / kTerms, rows, results);
    }
  }

  // h before the frame at a place in memory.
  const float* state_before(int64_t row, const float* zeros) const {
    const int64_t b = f_.sequence_of(row), t = f_.frame_of(row);
    if (t != f_.time(0)) return f_.y + f_.row(b, f_.reverse ? t + 1 : t - 1) * f_.units;
    return f_.h0 ? f_.h0 + b * f_.units : zeros;
  }

  const LstmBackwardArgs a_;
  const LstmArgs& f_;
  const int64_t gates_, frames_;  // of all units; of all sequences
  const int64_t of_dx_, of_weights_;
};

// Computes dz, dh0 and dc0 frame by frame; the products follow. Each task packs W_hhᵀ for itself, as LstmJob packs
// W_hh.
class LstmBackwardJob final : public Job {
 public:
  explicit LstmBackwardJob(const LstmBackwardArgs& a)
      : a_(a), f_(a_.forward), hidden_{f_.units, 4 * f_.units},
        tasks_(std::min(f_.batch, std::max<int64_t>(f_.threads, 1))) {}

  int64_t tasks() const override { return tasks_; }
  std::unique_ptr<Job> next() override { return std::make_unique<LstmProductsJob>(a_); }

  void run(int64_t task) override {
    const Range sequences{f_.batch * task / tasks_, f_.batch * (task + 1) / tasks_};
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.weight_hh = arena.take<float>(hidden_.size());
      s.zeros = arena.take<float>(hidden_.padded());
      s.dh = arena.take<float>(sequences.size() * hidden_.padded());
      s.dc = arena.take<float>(sequences.size() * f_.units);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    begin(sequences, s);
    for (int64_t i = f_.frames - 1; i >= 0; --i) {
      cells(sequences, i, s);
      if (i > 0 || a_.dh0) pass_on(sequences, f_.time(i), s);
    }
    end(sequences, s);
  }

 private:
  struct Scratch {
    float* weight_hh;  // transposed and packed
    float* zeros;
    float* dh;  // (sequences, padded units): of the current frame, without dy
    float* dc;  // (sequences, units)
  };

  void begin(Range sequences, const Scratch& s) const {
    std::fill_n(s.zeros, hidden_.padded(), 0.0f);
    const auto weights = [&](int64_t gate) { return f_.weight_hh + gate * f_.units; };
    pack_dense_outputs(0, f_.units, hidden_, weights, s.weight_hh);
    for (int64_t b = sequences.first, i = 0; b < sequences.last; ++b, ++i) {
      std::copy_n(a_.dh ? a_.dh + b * f_.units : s.zeros, f_.units, s.dh + i * hidden_.padded());
      std::copy_n(a_.dc ? a_.dc + b * f_.units : s.zeros, f_.units, s.dc + i * f_.units);
    }
  }

  // Computes dz of the frame of step `step`, and dc of the frame before.
  void cells(Range sequences, int64_t step, const Scratch& s) const {
    const int64_t t = f_.time(step);
    for (int64_t b = sequences.first, i = 0; b < sequences.last; ++b, ++i) {
      const int64_t frame = f_.row(b, t);
      const float* const cell = f_.cells + frame * f_.units;
      const float* const before = step > 0 ? f_.cells + f_.row(b, f_.time(step - 1)) * f_.units
                                  : f_.c0  ? f_.c0 + b * f_.units
                                           : s.zeros;
      lstm_cell_backward(f_.gates + frame * hidden_.inputs, cell, before, a_.dy ? a_.dy + frame * f_.units : s.zeros,
                         s.dh + i * hidden_.padded(), f_.units, s.dc + i * f_.units, dz(b, t));
    }
  }

  // Computes dh of the frame before t.
  void pass_on(Range sequences, int64_t t, const Scratch& s) const {
    for (int64_t g = 0; g < hidden_.groups(); ++g)
      dense_product(
          hidden_, g, s.weight_hh + hidden_.at(g), sequences.size(), s.dh,
          [&](int64_t row) { return dz(sequences.first + row, t); }, [&](const float*) { return s.zeros; });
  }

  void end(Range sequences, const Scratch& s) const {
    for (int64_t b = sequences.first, i = 0; b < sequences.last; ++b, ++i) {
      if (a_.dh0) std::copy_n(s.dh + i * hidden_.padded(), f_.units, a_.dh0 + b * f_.units);
      if (a_.dc0) std::copy_n(s.dc + i * f_.units, f_.units, a_.dc0 + b * f_.units);
    }
  }

  float* dz(int64_t b, int64_t t) const { return a_.dz + f_.row(b, t) * hidden_.inputs; }

  const LstmBackwardArgs a_;
  const LstmArgs& f_;
  const DenseShape hidden_;  // W_hhᵀ: from gates to units
  const int64_t tasks_;
};

inline std::unique_ptr<Job> lstm_backward(const LstmBackwardArgs& a) { return std::make_unique<LstmBackwardJob>(a); }
