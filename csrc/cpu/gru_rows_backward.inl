// Gradients of a GRU over a few sequences; see gru_rows.inl. The recursion advances frame by frame with lanes that are
// units. It leaves a row of dr, dz, dn, dn' and h' for each frame. In the products that follow, lanes are frames.

// The gradients of x and of the weights, from the rows of all frames.
class GruRowsProductsJob final : public Job {
 public:
  using Cell = GruCell<float>;
  static constexpr int64_t kValues = 5;  // of a unit in a row

  GruRowsProductsJob(const RecurrentBackwardArgs& a, Buffer<float> rows)
      : a_(a), f_(a_.forward), rows_(std::move(rows)), blocks_(lane_blocks<float>(f_.batch * f_.frames)),
        gradients_(a, int64_t(blocks_.size())) {}

  int64_t tasks() const override { return gradients_.tasks().count; }
  void finish() override { gradients_.write(); }

  void run(int64_t task) override {
    constexpr int64_t L = kLanes<float>;
    const int64_t inputs = Columns<float>::pad(f_.inputs), units = Columns<float>::pad(f_.units);
    const int64_t chunk = recurrent_chunk(f_.inputs, f_.units);
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.x = arena.take<float>(chunk * inputs * L);
      s.before = arena.take<float>(chunk * units * L);
      s.d = arena.take<float>(chunk * Cell::kSums * units * L);
      s.moved = arena.take<float>(Columns<float>::scratch(1, std::max(f_.inputs, f_.units)));
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    const Range blocks = gradients_.tasks()[task];
    for (int64_t first = blocks.first; first < blocks.last; first += chunk)
      for (int64_t d = 0; d < f_.directions; ++d) part(task, {first, std::min(first + chunk, blocks.last)}, d, s);
  }

 private:
  struct Scratch {
    float *x, *before, *d, *moved;  // lane rows of a chunk of blocks
  };

  // A frame is a sequence of its own here, and a block of frames takes the place of a frame.
  void part(int64_t task, Range blocks, int64_t d, const Scratch& s) const {
    constexpr int64_t L = kLanes<float>;
    const int64_t units = Columns<float>::pad(f_.units);
    const float* const rows = rows_.data() + d * f_.batch * f_.frames * kValues * f_.units;
    const Columns<float> x(f_.x, f_.dtype, 1, f_.inputs, 0, f_.inputs), dx(a_.dx, f_.dtype, 1, f_.inputs, 0, f_.inputs);
    const auto each = [&](auto move) {
      for (int64_t b = blocks.first; b < blocks.last; ++b) move(blocks_[b], b - blocks.first);
    };
    each([&](LaneBlock block, int64_t i) {
      for (int64_t p = 0; p < kValues; ++p)
        Columns<float>(rows, DType::f32, 1, kValues * f_.units, p * f_.units, f_.units)
            .read(block, {0, 1}, p < Cell::kSums ? s.d + (i * Cell::kSums + p) * units * L : s.before + i * units * L,
                  s.moved);
    });
    if (gradients_.wants_parameters()) {
      each([&](LaneBlock block, int64_t i) { x.read(block, {0, 1}, s.x + i * x.padded() * L, s.moved); });
      gradients_.add_parameters(task, d, blocks.size(), s.d, s.x, s.before);
    }
    if (!a_.dx) return;
    if (d == 0) std::fill_n(s.x, blocks.size() * dx.padded() * L, 0.0f);
    if (d > 0) each([&](LaneBlock block, int64_t i) { dx.read(block, {0, 1}, s.x + i * dx.padded() * L, s.moved); });
    gradients_.add_input(d, blocks.size(), s.d, s.x);
    each([&](LaneBlock block, int64_t i) { dx.write(block, {0, 1}, s.x + i * dx.padded() * L, s.moved); });
  }

  const RecurrentBackwardArgs a_;
  const RecurrentArgs& f_;
  const Buffer<float> rows_;
  const std::vector<LaneBlock> blocks_;
  const RecurrentGradients<Cell, float> gradients_;
};

class GruRowsBackwardJob final : public Job {
 public:
  static constexpr int64_t kValues = GruRowsProductsJob::kValues;

  explicit GruRowsBackwardJob(const RecurrentBackwardArgs& a)
      : a_(a), f_(a_.forward), hidden_{f_.units, 3 * f_.units},
        rows_(f_.directions * f_.batch * f_.frames * kValues * f_.units) {}

  int64_t tasks() const override { return RowTask::number(f_); }
  std::unique_ptr<Job> next() override {
    if (!a_.dx && !a_.dweight_hh[0]) return nullptr;
    return std::make_unique<GruRowsProductsJob>(a_, std::move(rows_));
  }

  void run(int64_t task) override {
    const RowTask rows = RowTask::at(f_, task);
    const Floats w_hh(f_.weight_hh[rows.direction], f_.dtype, 3 * f_.units * f_.units);
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.weight_hh = arena.take<float>(hidden_.size());
      s.d = arena.take<float>(rows.count * hidden_.inputs);
      s.dh = arena.take<float>(rows.count * hidden_.padded());
      s.dy = arena.take<float>(f_.units);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    const auto weights = [&](int64_t gate) { return w_hh.data() + gate * f_.units; };
    pack_dense_outputs(0, f_.units, hidden_, weights, s.weight_hh);
    std::fill_n(s.dh, rows.count * hidden_.padded(), 0.0f);
    for (int64_t step = f_.frames - 1; step >= 0; --step) {
      for (int64_t i = 0; i < rows.count; ++i) cell(rows, i, step, s);
      for (int64_t g = 0; g < hidden_.groups(); ++g)
        dense_product(
            hidden_, g, s.weight_hh + hidden_.at(g), rows.count, s.dh,
            [&](int64_t i) { return s.d + i * hidden_.inputs; }, [](const float* z) { return z; });
    }
    for (int64_t i = 0; i < rows.count && a_.dh0; ++i)
      write_elements(a_.dh0, f_.dtype, (rows.direction * f_.batch + rows.first + i) * f_.units,
                     s.dh + i * hidden_.padded(), f_.units);
  }

 private:
  struct Scratch {
    float* weight_hh;  // transposed and packed
    float* d;          // (sequences, 3 units): dr, dz, dn'
    float* dh;         // (sequences, padded units)
    float* dy;         // of one sequence
  };

  // Computes the row of one frame of sequence i, and the part of dh that passes to the state before without a product.
  void cell(RowTask rows, int64_t i, int64_t step, const Scratch& s) const {
    const int64_t units = f_.units, d = rows.direction, b = rows.first + i;
    const int64_t t = in_time({step, step + 1}, f_.frames, d).first;
    const auto output = [&](int64_t frame) { return ((b * f_.frames + frame) * f_.directions + d) * units; };
    float* const row = rows_.data() + ((d * f_.batch + b) * f_.frames + t) * kValues * units;
    float* const before = row + 4 * units;
    if (step > 0) read_elements(f_.y, f_.dtype, output(d == 0 ? t - 1 : t + 1), before, units);
    if (step == 0 && f_.h0) read_elements(f_.h0, f_.dtype, (d * f_.batch + b) * units, before, units);
    if (step == 0 && !f_.h0) std::fill_n(before, units, 0.0f);
    read_elements(a_.dy, f_.dtype, output(t), s.dy, units);
    const float* const kept = kept_row(f_, d, b, step);
    float *const by_hidden = s.d + i * hidden_.inputs, *const dh = s.dh + i * hidden_.padded();
    LITE_RTSE_INDEPENDENT
    for (int64_t u = 0; u < units; ++u) {
      const GruGradient<float> g(kept[u], kept[units + u], kept[2 * units + u], kept[3 * units + u], before[u],
                                 dh[u] + s.dy[u]);
      row[u] = by_hidden[u] = g.dr;
      row[units + u] = by_hidden[units + u] = g.dz;
      row[2 * units + u] = g.dn;
      row[3 * units + u] = by_hidden[2 * units + u] = g.dn_hidden;
      dh[u] = g.passed;
    }
  }

  const RecurrentBackwardArgs a_;
  const RecurrentArgs& f_;
  const DenseShape hidden_;  // W_hhᵀ: from gates to units
  Buffer<float> rows_;       // (directions, sequences, frames, kValues, units), by which all tasks write
};

inline std::unique_ptr<Job> gru_backward(const RecurrentBackwardArgs& a) {
  if (a.forward.dtype == DType::f64) return std::make_unique<GruBackwardJob<double>>(a);
  if (gru_in_rows<float>(a.forward)) return std::make_unique<GruRowsBackwardJob>(a);
  return std::make_unique<GruBackwardJob<float>>(a);
}
