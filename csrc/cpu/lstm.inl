// An LSTM over whole sequences.
//
// The product with W_ih depends on no earlier frame, so it is computed for many frames together. For each frame there
// remain W_hh h and the gates. For one sequence W_hh h is a matrix times a vector, bound by reading W_hh from the
// second-level cache. Several sequences advance frame by frame together and share the reading.
//
// Both matrices are packed in every call. Each task packs the whole of W_hh once, because it must load W_hh into its
// processor's cache anyway. It packs W_ih in the same way if both matrices fit the cache together. Otherwise it packs
// W_ih one group of outputs at a time. All of these frames use the group, and then the next group overwrites it. A
// fully packed W_ih would push W_hh out of the cache.

// The number of frames, over all sequences, whose input product is computed together. It is small enough to keep the
// frames' gates in the cache beside W_hh. The first number makes the cost of packing W_ih group by group negligible.
// The second is for a W_ih that is packed whole. It makes the cost of reading W_ih negligible.
constexpr int64_t kLstmRows = 256, kLstmFewRows = 32;
constexpr int64_t kLstmWholeBytes = 768 << 10;  // of both matrices, at most, if W_ih is packed whole

class LstmJob final : public Job {
 public:
  explicit LstmJob(const LstmArgs& a)
      : a_(a), input_{4 * a.units, a.inputs}, hidden_{4 * a.units, a.units}, bias_(input_.padded()),
        tasks_(std::min(a.batch, std::max<int64_t>(a.threads, 1))),
        whole_((input_.size() + hidden_.size()) * int64_t(sizeof(float)) <= kLstmWholeBytes) {
    for (const float* bias : {a.bias_ih, a.bias_hh})
      for (int64_t o = 0; bias && o < 4 * a.units; ++o) bias_[o] += bias[o];
  }

  int64_t tasks() const override { return tasks_; }

  void run(int64_t task) override {
    const Range sequences{a_.batch * task / tasks_, a_.batch * (task + 1) / tasks_};
    const int64_t frames = std::clamp<int64_t>((whole_ ? kLstmFewRows : kLstmRows) / sequences.size(), 1, a_.frames);
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.weight_hh = arena.take<float>(hidden_.size());
      s.weight_ih = arena.take<float>(whole_ ? input_.size() : kGroup * kLanes<float> * a_.inputs);
      s.gates = arena.take<float>(sequences.size() * frames * input_.padded());
      s.zeros = arena.take<float>(a_.units);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    begin(sequences, s);
    for (int64_t t = 0; t < a_.frames; t += frames) {
      const Range chunk{t, std::min(t + frames, a_.frames)};
      input_product(sequences, chunk, s);
      for (int64_t r = chunk.first; r < chunk.last; ++r)
        step(sequences, r, s.gates + (r - chunk.first) * sequences.size() * input_.padded(), s);
    }
    for (int64_t b = sequences.first; b < sequences.last; ++b)
      std::copy_n(y(b, a_.time(a_.frames - 1)), a_.units, a_.h + b * a_.units);
  }

 private:
  struct Scratch {
    float* weight_hh;  // packed
    float* weight_ih;  // packed: all of it, or one group of outputs
    float* gates;      // (frames, sequences, padded outputs)
    float* zeros;      // the state before the first frame if none is given
  };

  void begin(Range sequences, const Scratch& s) const {
    for (int64_t g = 0; g < hidden_.groups(); ++g)
      pack_dense_group(a_.weight_hh, hidden_, g, s.weight_hh + hidden_.at(g));
    for (int64_t g = 0; whole_ && g < input_.groups(); ++g)
      pack_dense_group(a_.weight_ih, input_, g, s.weight_ih + input_.at(g));
    std::fill_n(s.zeros, a_.units, 0.0f);
    const int64_t first = sequences.first * a_.units, count = sequences.size() * a_.units;
    if (a_.c0) std::copy_n(a_.c0 + first, count, a_.c + first);
    if (!a_.c0) std::fill_n(a_.c + first, count, 0.0f);
  }

  // gates = W_ih x + b_ih + b_hh for some frames of all sequences, in the order of the layer.
  void input_product(Range sequences, Range frames, const Scratch& s) const {
    const int64_t n = sequences.size();
    const auto x = [&](int64_t row) {
      return a_.x + a_.row(sequences.first + row % n, a_.time(frames.first + row / n)) * a_.inputs;
    };
    for (int64_t g = 0; g < input_.groups(); ++g) {
      const float* const bias = bias_.data() + input_.group(g).first * kLanes<float>;
      float* const weight = whole_ ? s.weight_ih + input_.at(g) : s.weight_ih;
      if (!whole_) pack_dense_group(a_.weight_ih, input_, g, weight);
      dense_product(input_, g, weight, n * frames.size(), s.gates, x, [=](const float*) { return bias; });
    }
  }

  // Computes the frame of step `i` of all sequences. gates: (sequences, padded outputs), to which W_hh h is added.
  void step(Range sequences, int64_t i, float* gates, const Scratch& s) const {
    const auto before = [&](int64_t row) -> const float* {
      const int64_t b = sequences.first + row;
      return i > 0 ? y(b, a_.time(i - 1)) : a_.h0 ? a_.h0 + b * a_.units : s.zeros;
    };
    for (int64_t g = 0; g < hidden_.groups(); ++g)
      dense_product(hidden_, g, s.weight_hh + hidden_.at(g), sequences.size(), gates, before,
                    [](const float* z) { return z; });
    for (int64_t row = 0; row < sequences.size(); ++row) {
      const int64_t b = sequences.first + row, t = a_.time(i), frame = a_.row(b, t);
      const float* const z = gates + row * hidden_.padded();
      float* const c = a_.c + b * a_.units;
      if (!a_.gates) lstm_cell(z, a_.units, c, y(b, t));
      if (a_.gates)
        lstm_cell_kept(z, a_.units, c, y(b, t), a_.gates + frame * 4 * a_.units, a_.cells + frame * a_.units);
    }
  }

  float* y(int64_t b, int64_t t) const { return a_.y + a_.row(b, t) * a_.units; }

  const LstmArgs a_;
  const DenseShape input_, hidden_;
  Buffer<float> bias_;
  const int64_t tasks_;
  const bool whole_;  // whether W_ih is packed whole
};

inline std::unique_ptr<Job> lstm(const LstmArgs& a) { return std::make_unique<LstmJob>(a); }
