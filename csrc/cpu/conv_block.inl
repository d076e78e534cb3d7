// The Conv-Block: y = out(dw(in(x))) * skip(x), forward and backward.

constexpr int64_t kConvBlockSegment = 128;  // frames per task; each task recomputes 2 frames of left context

// Packed weights, shared by forward and backward. `targets` are the block's own channels, in lane blocks.
template <class T>
struct ConvBlockWeights {
  static constexpr int64_t kTaps = 9;
  std::vector<LaneBlock> targets;
  Pointwise<T> in, out, skip;
  Buffer<T> w_in, w_out, w_skip, w_dw, b_dw;

  explicit ConvBlockWeights(const ConvBlockArgs& a) : targets(lane_blocks<T>(a.channels)) {
    const int64_t n = int64_t(targets.size());
    in = skip = {a.in_channels, n};
    out = {a.channels, n};
    w_in = packed(a, ConvBlockArgs::kIn, a.in_channels);
    w_out = packed(a, ConvBlockArgs::kOut, a.channels);
    w_skip = packed(a, ConvBlockArgs::kSkip, a.in_channels);
    const Buffer<T> w = read_parameter<T>(a.weight[ConvBlockArgs::kDw], a.dtype, a.channels * kTaps);
    const Buffer<T> b = read_parameter<T>(a.bias[ConvBlockArgs::kDw], a.dtype, a.channels);
    w_dw = Buffer<T>(n * kTaps * kLanes<T>);
    b_dw = Buffer<T>(n * kLanes<T>);
    for (int64_t i = 0; i < n; ++i) {
      pack_depthwise(w.data(), kTaps, targets[i], w_dw.data() + i * kTaps * kLanes<T>);
      pack_vector(b.data(), targets[i], b_dw.data() + i * kLanes<T>);
    }
  }
  Buffer<T> packed(const ConvBlockArgs& a, int index, int64_t sources) const {
    const Buffer<T> w = read_parameter<T>(a.weight[index], a.dtype, a.channels * sources);
    const Buffer<T> b = read_parameter<T>(a.bias[index], a.dtype, a.channels);
    Buffer<T> result(Pointwise<T>{sources, int64_t(targets.size())}.size());
    pack_pointwise(w.data(), b.data(), sources, targets, result.data());
    return result;
  }
};

// The data of one task that runs in → dw over the frames of a chunk: the latest frames of x, and rings of in(x).
template <class T, class Input>
class ConvBlockFront {
 public:
  // kept: the number of frames of x that stay readable beyond those of a chunk.
  ConvBlockFront(const ConvBlockArgs& a, const ConvBlockWeights<T>& weights, int64_t kept)
      : a_(a), w_(weights), x_(Feature<T>(a.x, a.dtype, a.in_channels, a.frames, a.bins), kChunk + kept),
        blocks_(int64_t(w_.targets.size())), rings_(blocks_), entered_(blocks_), lane_(a.channels) {}

  void layout(Arena& arena) {
    x_.layout(arena);
    for (Ring<T>& ring : rings_) ring = Ring<T>(arena, kChunk + 2, a_.frames, a_.bins, 1);
    zeros_ = arena.take<T>((a_.bins + 3) * kLanes<T>);
    hidden_ = arena.take<T>(blocks_ * kChunk * row_size());
  }
  void clear() {
    std::fill_n(zeros_, (a_.bins + 3) * kLanes<T>, T(0));
    for (Ring<T>& ring : rings_) ring.clear_padding();
  }

  // Reads the frames of `range` and writes them to the rings of in(x).
  void enter(int64_t b, Range range) {
    for (int64_t t = range.first; t < range.last; ++t) {
      x_.read(b, {t, t + 1});
      for (int64_t i = 0; i < blocks_; ++i) entered_[i] = rings_[i].row(t);
      w_.in.forward(w_.w_in.data(), x(t), a_.bins, 0, blocks_, entered_.data());
    }
  }
  // Computes hidden = dw(in(x)) for the frames of `range`, at most kChunk of them.
  void depthwise(Range range) {
    const T* rows[kChunk + 2];
    T* y[kChunk];
    for (int64_t i = 0; i < blocks_; ++i) {
      padded_rows(rings_[i], range.first - 2, range.size() + 2, zeros_, rows);
      for (int64_t r = 0; r < range.size(); ++r) y[r] = hidden(i, r);
      kernel().convolve(y, rows, range.size(), a_.bins, w_.w_dw.data() + i * 9 * kLanes<T>,
                        w_.b_dw.data() + i * kLanes<T>);
    }
  }
  // The channels of hidden row r, as the source of a 1x1 convolution.
  Lanes<T> hidden_channels(int64_t r) {
    const T** at = lane_.data();
    for (int64_t i = 0; i < blocks_; ++i) at = lane_channels<T>(at, hidden(i, r), w_.targets[i].count);
    return {lane_.data()};
  }
  auto x(int64_t t) const { return x_[t]; }

  static Depthwise<T> kernel() { return {3, 3}; }
  const Ring<T>& ring(int64_t block) const { return rings_[block]; }
  const T* zeros() const { return zeros_; }
  int64_t row_size() const { return a_.bins * kLanes<T>; }

 private:
  T* hidden(int64_t block, int64_t r) const { return hidden_ + (block * kChunk + r) * row_size(); }

  const ConvBlockArgs& a_;
  const ConvBlockWeights<T>& w_;
  Input x_;
  const int64_t blocks_;
  std::vector<Ring<T>> rings_;
  std::vector<T*> entered_;
  std::vector<const T*> lane_;
  T *zeros_ = nullptr, *hidden_ = nullptr;
};

template <class T, class Input>
class ConvBlockJob final : public Job {
 public:
  explicit ConvBlockJob(const ConvBlockArgs& a) : a_(a), w_(a), segments_(a.batch, a.frames, kConvBlockSegment) {}

  int64_t tasks() const override { return segments_.count(); }

  void run(int64_t task) override {
    const Segment s = segments_[task];
    Task k(*this, s);
    for (int64_t t = std::max<int64_t>(0, s.first - 2); t < s.last; t += kChunk) {
      const Range chunk = Range{t, t + kChunk}.clip(0, s.last), own = chunk.clip(s.first, s.last);
      k.front.enter(s.utterance, chunk);
      k.front.depthwise(own);
      for (int64_t r = 0; r < own.size(); ++r) k.finish_frame(own.first + r, r);
    }
  }

 private:
  struct Task {
    const ConvBlockJob& job;
    const Segment s;
    const Feature<T> y;
    ConvBlockFront<T, Input> front;
    std::vector<T*> rows;
    T* narrow = nullptr;

    Task(const ConvBlockJob& j, Segment segment)
        : job(j), s(segment), y(j.a_.y, j.a_.dtype, j.a_.channels, j.a_.frames, j.a_.bins), front(j.a_, j.w_, 0) {
      const auto layout = [&](Arena arena) {
        front.layout(arena);
        const int64_t blocks = int64_t(job.w_.targets.size());
        rows = row_table(arena.take<T>(blocks * front.row_size()), blocks, front.row_size());
        narrow = arena.take<T>(y.scratch(kLanes<T>));
        return arena.used();
      };
      layout(Arena(thread_scratch(layout(Arena()))));
      front.clear();
    }

    // Computes y of frame t, whose dw(in(x)) is hidden row r.
    void finish_frame(int64_t t, int64_t r) {
      const ConvBlockWeights<T>& w = job.w_;
      const Lanes<T> u = front.hidden_channels(r);
      w.skip.forward(w.w_skip.data(), front.x(t), y.bins, 0, w.skip.blocks, rows.data());
      w.out.forward_times(w.w_out.data(), u, y.bins, rows.data(), rows.data());
      for (size_t i = 0; i < rows.size(); ++i)
        write_lanes(y, s.utterance, t, w.targets[i].first, w.targets[i].count, rows[i], narrow);
    }
  };

  const ConvBlockArgs a_;
  const ConvBlockWeights<T> w_;
  const Segments segments_;
};

// A single input channel is read in place: of its lane rows, all lanes but one would be idle.
template <template <class, class> class OperatorJob, class Args>
std::unique_ptr<Job> conv_block_job(const ConvBlockArgs& forward, const Args& args) {
  const bool planes = forward.in_channels == 1;
  if (forward.dtype == DType::f64) {
    if (planes) return std::make_unique<OperatorJob<double, PlaneSources<double>>>(args);
    return std::make_unique<OperatorJob<double, LaneSources<double>>>(args);
  }
  if (planes) return std::make_unique<OperatorJob<float, PlaneSources<float>>>(args);
  return std::make_unique<OperatorJob<float, LaneSources<float>>>(args);
}

inline std::unique_ptr<Job> conv_block(const ConvBlockArgs& a) { return conv_block_job<ConvBlockJob>(a, a); }
