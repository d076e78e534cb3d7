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

// The data of one task that runs in → dw over the frames of a chunk: the source rows of x, and rings of in(x).
template <class T>
class ConvBlockFront {
 public:
  ConvBlockFront(const ConvBlockArgs& a, const ConvBlockWeights<T>& weights)
      : a_(a), w_(weights), x_(a.x, a.dtype, a.in_channels, a.frames, a.bins), blocks_(int64_t(w_.targets.size())),
        rings_(blocks_), row_(a.in_channels), lane_(a.channels) {}

  void layout(Arena& arena, int64_t capacity) {
    for (Ring<T>& ring : rings_) ring = Ring<T>(arena, capacity, a_.frames, a_.bins, 1);
    zeros_ = arena.take<T>((a_.bins + 3) * kLanes<T>);
    narrow_ = arena.take<T>(std::max(x_.scratch(a_.in_channels), x_.scratch(kLanes<T>)));
    hidden_ = arena.take<T>(blocks_ * kChunk * row_size());
  }
  void clear() {
    std::fill_n(zeros_, (a_.bins + 3) * kLanes<T>, T(0));
    for (Ring<T>& ring : rings_) ring.clear_padding();
  }

  Source<T> x(int64_t b, int64_t t) {
    x_.read(b, t, 0, a_.in_channels, row_.data(), narrow_);
    return {row_.data(), 1};
  }
  // Writes frame t to the rings of in(x).
  void enter(Source<T> x, int64_t t) {
    std::vector<T*> y(blocks_);
    for (int64_t i = 0; i < blocks_; ++i) y[i] = rings_[i].row(t);
    w_.in.forward(w_.w_in.data(), x, a_.bins, 0, blocks_, y.data());
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
  Source<T> hidden_channels(int64_t r) {
    const T** at = lane_.data();
    for (int64_t i = 0; i < blocks_; ++i) at = lane_channels<T>(at, hidden(i, r), w_.targets[i].count);
    return {lane_.data(), kLanes<T>};
  }

  static Depthwise<T> kernel() { return {3, 3}; }
  T* hidden(int64_t block, int64_t r) const { return hidden_ + (block * kChunk + r) * row_size(); }
  const Ring<T>& ring(int64_t block) const { return rings_[block]; }
  const T* zeros() const { return zeros_; }
  T* narrow() const { return narrow_; }
  int64_t row_size() const { return a_.bins * kLanes<T>; }

 private:
  const ConvBlockArgs& a_;
  const ConvBlockWeights<T>& w_;
  const Feature<T> x_;
  const int64_t blocks_;
  std::vector<Ring<T>> rings_;
  std::vector<const T*> row_, lane_;
  T *zeros_ = nullptr, *narrow_ = nullptr, *hidden_ = nullptr;
};

template <class T>
class ConvBlockJob final : public Job {
 public:
  explicit ConvBlockJob(const ConvBlockArgs& a) : a_(a), w_(a), segments_(a.batch, a.frames, kConvBlockSegment) {}

  int64_t tasks() const override { return segments_.count(); }

  void run(int64_t task) override {
    const Segment s = segments_[task];
    const int64_t blocks = int64_t(w_.targets.size());
    const Feature<T> y(a_.y, a_.dtype, a_.channels, a_.frames, a_.bins);
    ConvBlockFront<T> front(a_, w_);
    T* products = nullptr;
    const auto layout = [&](Arena arena) {
      front.layout(arena, kChunk + 2);
      products = arena.take<T>(2 * blocks * front.row_size());
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    front.clear();
    const std::vector<T*> main = row_table(products, blocks, front.row_size());
    const std::vector<T*> skip = row_table(products + blocks * front.row_size(), blocks, front.row_size());

    for (int64_t t = std::max<int64_t>(0, s.first - 2); t < s.last; t += kChunk) {
      const Range chunk = Range{t, t + kChunk}.clip(0, s.last);
      for (int64_t r = chunk.first; r < chunk.last; ++r) front.enter(front.x(s.utterance, r), r);
      const Range own = chunk.clip(s.first, s.last);
      front.depthwise(own);
      for (int64_t r = 0; r < own.size(); ++r) {
        w_.out.forward(w_.w_out.data(), front.hidden_channels(r), a_.bins, 0, blocks, main.data());
        w_.skip.forward(w_.w_skip.data(), front.x(s.utterance, own.first + r), a_.bins, 0, blocks, skip.data());
        for (int64_t i = 0; i < blocks; ++i) {
          multiply(main[i], skip[i], a_.bins, main[i]);
          write_lanes(y, s.utterance, own.first + r, w_.targets[i].first, w_.targets[i].count, main[i], front.narrow());
        }
      }
    }
  }

 private:
  const ConvBlockArgs a_;
  const ConvBlockWeights<T> w_;
  const Segments segments_;
};

inline std::unique_ptr<Job> conv_block(const ConvBlockArgs& a) { return job_for<ConvBlockJob>(a.dtype, a); }
