// A GRU over whole sequences; lanes are sequences. The state before a frame is h', and n's part of W_hh h' is n':
//
//     r = σ(r_x + r_h),   z = σ(z_x + z_h),   n = tanh(n_x + r n'),   h = n + z (h' - n).
//
// A frame's products and its gates are computed in one pass, tile by tile of units. A march over chunks of frames reads
// x and writes y. Only the lane rows of a chunk are in memory.

template <class T>
struct GruCell {
  static constexpr int kGates = 3;  // r, z, n
  static constexpr int kSums = 4;   // r, z, n without n', n'
  static constexpr int kInput[kGates] = {0, 1, 2}, kHidden[kGates] = {0, 1, 3};
  static constexpr int kKept = 4;  // r, z, n, n'

  // Turns the four sums of `count` units into the values that are kept, and computes h.
  static LITE_RTSE_INLINE void step(T* r, T* z, T* n, T* n_hidden, const T* before, T* after, int64_t count) {
    LITE_RTSE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) {
      r[i] = sigmoid(r[i]);
      z[i] = sigmoid(z[i]);
      n[i] = hyperbolic_tangent(n[i] + r[i] * n_hidden[i]);
      after[i] = n[i] + z[i] * (before[i] - n[i]);
    }
  }
};

template <class T>
class GruJob final : public Job {
 public:
  using Cell = GruCell<T>;

  explicit GruJob(const RecurrentArgs& a)
      : a_(a), chunk_(std::min(recurrent_chunk(a.inputs, a.units), a.frames)), blocks_(lane_blocks<T>(a.batch)),
        tasks_(int64_t(blocks_.size()), kMostTasks) {
    for (int64_t d = 0; d < a.directions; ++d) weights_.emplace_back(a, d);
  }
  int64_t tasks() const override { return tasks_.count; }
  void finish() override {
    if (a_.kept) kept().clear_gaps();
  }

  void run(int64_t task) override {
    const int64_t inputs = Columns<T>::pad(a_.inputs), units = Columns<T>::pad(a_.units), L = kLanes<T>;
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.x = arena.take<T>(chunk_ * inputs * L);
      s.h = arena.take<T>(chunk_ * units * L);
      s.before = arena.take<T>(units * L);
      s.sums = arena.take<T>(Cell::kSums * kUnitTile * L);
      s.moved = arena.take<T>(Columns<T>::scratch(chunk_, std::max(a_.inputs, a_.units)));
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    const Range blocks = tasks_[task];
    for (int64_t b = blocks.first; b < blocks.last; ++b)
      for (int64_t d = 0; d < a_.directions; ++d) sequences(blocks_[b], d, s);
  }

 private:
  static constexpr int64_t kMostTasks = 64;

  struct Scratch {
    T *x, *h, *before, *sums, *moved;
  };

  void sequences(LaneBlock block, int64_t d, const Scratch& s) const {
    constexpr int64_t L = kLanes<T>;
    const Columns<T> x(a_.x, a_.dtype, a_.frames, a_.inputs, 0, a_.inputs);
    const Columns<T> y(a_.y, a_.dtype, a_.frames, a_.directions * a_.units, d * a_.units, a_.units);
    const int64_t inputs = x.padded() * L, units = y.padded() * L;
    std::fill_n(s.before, units, T(0));
    if (a_.h0)
      Columns<T>(a_.h0, a_.dtype, 1, a_.units, 0, a_.units)
          .read({d * a_.batch + block.first, block.count}, {0, 1}, s.before, s.moved);
    for (int64_t first = 0; first < a_.frames; first += chunk_) {
      const Range steps{first, std::min(first + chunk_, a_.frames)}, time = in_time(steps, a_.frames, d);
      x.read(block, time, s.x, s.moved);
      const T* before = s.before;
      for (int64_t step = steps.first; step < steps.last; ++step) {
        const int64_t t = in_time({step, step + 1}, a_.frames, d).first - time.first;
        frame(weights_[d], s.x + t * inputs, before, s.h + t * units, s.sums, block, d, step);
        before = s.h + t * units;
      }
      y.write(block, time, s.h, s.moved);
      std::copy_n(before, units, s.before);
    }
  }

  void frame(const RecurrentWeights<Cell, T>& weights, const T* x, const T* before, T* after, T* sums, LaneBlock block,
             int64_t d, int64_t step) const {
    constexpr int64_t L = kLanes<T>, kTile = kUnitTile * L;
    T* keep = a_.kept ? kept().at(block, d, step) : nullptr;
    for (int64_t tile = 0; tile < weights.tiles(); ++tile) {
      const int64_t u = tile * kUnitTile, count = std::min<int64_t>(kUnitTile, a_.units - u);
      weights.sums(tile, x, before, sums);
      Cell::step(sums, sums + kTile, sums + 2 * kTile, sums + 3 * kTile, before + u * L, after + u * L, kTile);
      for (int64_t i = 0; keep && i < count; ++i)
        for (int k = 0; k < Cell::kKept; ++k, keep += block.count)
          store_unaligned(keep, load(sums + (k * kUnitTile + i) * L));
    }
  }

  Kept<Cell, T> kept() const { return {static_cast<T*>(a_.kept), a_}; }

  const RecurrentArgs a_;
  const int64_t chunk_;
  const std::vector<LaneBlock> blocks_;
  const RecurrentTasks tasks_;
  std::vector<RecurrentWeights<Cell, T>> weights_;
};
