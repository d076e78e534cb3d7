// A GRU over a few sequences; lanes are units. With fewer sequences than half a vector, lanes that are sequences would
// mostly be idle. As in lstm.inl, the products with W_ih precede, for many frames together, and each frame adds W_hh
// h'.
//
// Every sum has the same terms in the same order as in gru.inl, so the result has the same bits.

// A parameter in float32, read in place if it is stored so.
class Floats {
 public:
  Floats(const void* data, DType dtype, int64_t n)
      : own_(data && dtype == DType::f32 ? 0 : n), data_(own_.size() ? own_.data() : static_cast<const float*>(data)) {
    if (data && own_.size()) read_elements(data, dtype, 0, own_.data(), n);
  }
  const float* data() const { return data_; }

 private:
  Buffer<float> own_;
  const float* data_;
};

// Whether the lanes are units.
template <class T>
bool gru_in_rows(const RecurrentArgs& a) {
  return sizeof(T) == 4 && 2 * a.batch <= kLanes<T> && a.units >= kLanes<T>;
}

// The sequences of one direction that one task computes: at most a tile of rows.
struct RowTask {
  int64_t direction, first, count;

  static int64_t number(const RecurrentArgs& a) { return a.directions * ceil_div(a.batch, kRowTile); }
  static RowTask at(const RecurrentArgs& a, int64_t task) {
    const int64_t first = task / a.directions * kRowTile;
    return {task % a.directions, first, std::min<int64_t>(kRowTile, a.batch - first)};
  }
};

// What is kept of a frame in this layout: r, z, n and n', `units` of each.
inline float* kept_row(const RecurrentArgs& a, int64_t direction, int64_t sequence, int64_t step) {
  const int64_t size = RecurrentArgs::kKeptValues * a.units;
  return static_cast<float*>(a.kept) + direction * (size * a.frames * a.batch + RecurrentArgs::kKeptGap) +
         (sequence * a.frames + step) * size;
}

class GruRowsJob final : public Job {
 public:
  explicit GruRowsJob(const RecurrentArgs& a) : a_(a), input_{3 * a.units, a.inputs}, hidden_{3 * a.units, a.units} {}

  int64_t tasks() const override { return RowTask::number(a_); }
  void finish() override {
    if (a_.kept) Kept<GruCell<float>, float>{static_cast<float*>(a_.kept), a_}.clear_gaps();
  }

  void run(int64_t task) override {
    const RowTask rows = RowTask::at(a_, task);
    const int64_t d = rows.direction, n = rows.count;
    const Floats w_ih(a_.weight_ih[d], a_.dtype, 3 * a_.units * a_.inputs);
    const Floats w_hh(a_.weight_hh[d], a_.dtype, 3 * a_.units * a_.units);
    const int64_t chunk = std::clamp<int64_t>(kLstmRows / n, 1, a_.frames);
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.weight_hh = arena.take<float>(hidden_.size());
      s.group = arena.take<float>(kGroup * kLanes<float> * a_.inputs);
      s.bias = arena.take<float>(input_.padded());
      s.bias_n = arena.take<float>(a_.units);
      s.gates = arena.take<float>(n * chunk * input_.padded());
      s.x = arena.take<float>(a_.dtype == DType::f32 ? 0 : n * chunk * a_.inputs);
      s.n = arena.take<float>(a_.units);
      s.before = arena.take<float>(n * a_.units);
      s.after = arena.take<float>(n * a_.units);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    begin(rows, w_hh.data(), s);
    for (int64_t first = 0; first < a_.frames; first += chunk) {
      const Range steps{first, std::min(first + chunk, a_.frames)};
      input_product(rows, steps, w_ih.data(), s);
      for (int64_t step = steps.first; step < steps.last; ++step) {
        frame(rows, step, s.gates + (step - steps.first) * n * input_.padded(), s);
        std::swap(s.before, s.after);
      }
    }
  }

 private:
  struct Scratch {
    float* weight_hh;       // packed
    float* group;           // packed, of W_ih
    float *bias, *bias_n;   // of the sums with W_ih x, and of n'
    float* gates;           // (steps, sequences, padded gates)
    float* x;               // (steps, sequences, inputs), if x is not float32
    float* n;               // n without n', of one sequence
    float *before, *after;  // (sequences, units)
  };

  void begin(RowTask rows, const float* w_hh, const Scratch& s) const {
    const int64_t d = rows.direction, units = a_.units;
    for (int64_t g = 0; g < hidden_.groups(); ++g) pack_dense_group(w_hh, hidden_, g, s.weight_hh + hidden_.at(g));
    const Floats b_ih(a_.bias_ih[d], a_.dtype, 3 * units), b_hh(a_.bias_hh[d], a_.dtype, 3 * units);
    std::fill_n(s.bias, input_.padded(), 0.0f);
    for (int64_t o = 0; o < 3 * units; ++o) s.bias[o] = b_ih.data()[o] + (o < 2 * units ? b_hh.data()[o] : 0.0f);
    std::copy_n(b_hh.data() + 2 * units, units, s.bias_n);
    if (!a_.h0) return std::fill(s.before, s.before + rows.count * units, 0.0f), void();
    read_elements(a_.h0, a_.dtype, (d * a_.batch + rows.first) * units, s.before, rows.count * units);
  }

  // gates = bias + W_ih x for some steps of all sequences.
  void input_product(RowTask rows, Range steps, const float* w_ih, const Scratch& s) const {
    const int64_t n = rows.count;
    const auto offset = [&](int64_t row) {
      const int64_t step = steps.first + row / n;
      return ((rows.first + row % n) * a_.frames + in_time({step, step + 1}, a_.frames, rows.direction).first) *
             a_.inputs;
    };
    const bool in_place = a_.dtype == DType::f32;
    for (int64_t row = 0; row < n * steps.size() && !in_place; ++row)
      read_elements(a_.x, a_.dtype, offset(row), s.x + row * a_.inputs, a_.inputs);
    const auto x = [&](int64_t row) -> const float* {
      return in_place ? static_cast<const float*>(a_.x) + offset(row) : s.x + row * a_.inputs;
    };
    for (int64_t g = 0; g < input_.groups(); ++g) {
      const float* const bias = s.bias + input_.group(g).first * kLanes<float>;
      pack_dense_group(w_ih, input_, g, s.group);
      dense_product(input_, g, s.group, n * steps.size(), s.gates, x, [=](const float*) { return bias; });
    }
  }

  // Computes a frame of all sequences. gates: (sequences, padded gates). n' takes the place of n in them.
  void frame(RowTask rows, int64_t step, float* gates, const Scratch& s) const {
    const int64_t units = a_.units, t = in_time({step, step + 1}, a_.frames, rows.direction).first;
    for (int64_t i = 0; i < rows.count; ++i) {
      float* const n = gates + i * input_.padded() + 2 * units;
      std::copy_n(n, units, s.after + i * units);  // until the state takes this place
      std::copy_n(s.bias_n, units, n);
    }
    for (int64_t g = 0; g < hidden_.groups(); ++g)
      dense_product(
          hidden_, g, s.weight_hh + hidden_.at(g), rows.count, gates, [&](int64_t i) { return s.before + i * units; },
          [](const float* z) { return z; });
    for (int64_t i = 0; i < rows.count; ++i) {
      const int64_t b = rows.first + i;
      float *const z = gates + i * input_.padded(), *const after = s.after + i * units;
      std::copy_n(after, units, s.n);
      GruCell<float>::step(z, z + units, s.n, z + 2 * units, s.before + i * units, after, units);
      write_elements(a_.y, a_.dtype, ((b * a_.frames + t) * a_.directions + rows.direction) * units, after, units);
      if (a_.kept) keep(z, s.n, kept_row(a_, rows.direction, b, step));
    }
  }

  void keep(const float* gates, const float* n, float* to) const {
    std::copy_n(gates, 2 * a_.units, to);
    std::copy_n(n, a_.units, to + 2 * a_.units);
    std::copy_n(gates + 2 * a_.units, a_.units, to + 3 * a_.units);
  }

  const RecurrentArgs a_;
  const DenseShape input_, hidden_;
};

inline std::unique_ptr<Job> gru(const RecurrentArgs& a) {
  if (a.dtype == DType::f64) return std::make_unique<GruJob<double>>(a);
  if (gru_in_rows<float>(a)) return std::make_unique<GruRowsJob>(a);
  return std::make_unique<GruJob<float>>(a);
}
