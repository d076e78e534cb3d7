// The forward pass of the Multi-Order block. Each task computes a run of frames.
//
// A task marches over time in steps. In each step, one lane block after another takes its h = in(x) through its
// depthwise stages. It takes one chunk at a time through all stages. This order is possible because blocks do not mix
// before the gate chain. Rings keep the left context of each stage: k - 1 frames of the stage before.
//
// If a step has more than one chunk, the blocks share all rows except those k - 1 (see `loan` in Ring). The rows of one
// block then fit the second-level cache. Only the left context of each block is read from beyond it, once per step.
// h of two blocks is computed at once, as that is the better register tile. The second one's h waits for the first
// block's stages, so there are two sets of shared rows of h.

template <class T>
class Cascade {
 public:
  // step: the largest number of frames of a call of run(). It is kChunk, or a multiple at which every step but the
  // first begins.
  Cascade(const MultiOrderPlan<T>& plan, int64_t frames, int64_t bins, int64_t step)
      : plan_(plan), frames_(frames), bins_(bins), step_(step), stage_(plan.blocks.size()) {}

  // extra(block, stage): the number of frames that the ring keeps beyond the needs of the forward march. Rings that
  // share rows have no extra frames.
  template <class Extra>
  void layout(Arena& arena, Extra extra) {
    const int64_t look_back = plan_.look_back, pad = look_back / 2, lent = shares_rows() ? step_ - look_back : 0;
    std::vector<T*> loan(kTogether + plan_.stages - 1);  // h of the blocks in turn, then the rows of each stage
    for (T*& rows : loan) rows = arena.take<T>(lent * Ring<T>::row_size(bins_, pad));
    for (size_t b = 0; b < stage_.size(); ++b) {
      const int64_t depth = plan_.blocks[b].depth;
      stage_[b].clear();
      for (int64_t s = 0; s < depth; ++s) {
        const int64_t capacity = step_ + look_back + extra(int64_t(b), s);
        if (!shares_rows())
          stage_[b].push_back(Ring<T>(arena, capacity, frames_, bins_, pad));
        else if (s > 0)
          stage_[b].push_back(Ring<T>(arena, step_, frames_, bins_, pad, step_, lent, loan[kTogether + s - 1]));
        else  // all of a step's h may be written while the left context is still needed
          stage_[b].push_back(Ring<T>(arena, 2 * step_, frames_, bins_, pad, step_, lent, loan[b % kTogether]));
      }
      // No convolution reads the last stage, but the gate chain reads it after the step.
      stage_[b].push_back(Ring<T>(arena, step_ + extra(int64_t(b), depth), frames_, bins_, 0));
    }
    zeros_ = arena.take<T>(zeros_size());
  }

  void clear() {
    std::fill_n(zeros_, zeros_size(), T(0));
    for (std::vector<Ring<T>>& rings : stage_)
      for (Ring<T>& ring : rings) ring.clear_padding();
  }

  // Computes all stages of all blocks for the frames of `step`. Stage s of a block of depth d is computed from frame
  // first - (d - s)(k - 1) on, because the frames from `first` on depend on these frames.
  // around(stages) calls stages(), which takes one block through a chunk. A benchmark's `around` measures the time.
  template <class Around>
  void run(const LaneSources<T>& x, Range step, int64_t first, Around around) {
    for (int64_t b = 0; b < int64_t(stage_.size()); b += kTogether) {
      const int64_t count = std::min(kTogether, int64_t(stage_.size()) - b);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t at = step.first; at < step.last; at += kChunk) {
          const Range chunk = Range{at, at + kChunk}.clip(at, step.last);
          if (i == 0) enter(x, chunk, b, count);
          around([&] { convolve(b + i, chunk, first); });
        }
    }
  }

  void run(const LaneSources<T>& x, Range step, int64_t first) {
    run(x, step, first, [](const auto& stages) { stages(); });
  }

  const Ring<T>& ring(int64_t block, int64_t stage) const { return stage_[block][stage]; }
  const Ring<T>& last(int64_t block) const { return stage_[block].back(); }
  const T* zeros() const { return zeros_; }

 private:
  static constexpr int64_t kTogether = 2;  // blocks whose h is computed at once

  // Computes h = in(x) of `count` blocks from `first` on.
  void enter(const LaneSources<T>& x, Range chunk, int64_t first, int64_t count) {
    T* h[kTogether];
    for (int64_t t = chunk.first; t < chunk.last; ++t) {
      for (int64_t i = 0; i < count; ++i) h[i] = stage_[first + i][0].row(t);
      plan_.in.forward(plan_.w_in.data(), x[t], bins_, first, count, h);
    }
  }
  void convolve(int64_t block, Range chunk, int64_t first) {
    const int64_t depth = plan_.blocks[block].depth;
    std::vector<const T*> in(kChunk + plan_.look_back);
    T* out[kChunk];
    for (int64_t s = 0; s < depth; ++s) {
      const Range rows = chunk.clip(first - (depth - s - 1) * plan_.look_back, chunk.last);
      padded_rows(stage_[block][s], rows.first - plan_.look_back, rows.size() + plan_.look_back, zeros_, in.data());
      for (int64_t r = 0; r < rows.size(); ++r) out[r] = stage_[block][s + 1].row(rows.first + r);
      const T* w = plan_.stage_weights(block, s);
      plan_.kernel.convolve(out, in.data(), rows.size(), bins_, w, w + plan_.taps * kLanes<T>);
    }
  }
  // Two facts allow rings to share rows. A step's last chunk contains all rows that the next step looks back on. The
  // chunk writes these rows after the last read of the previous step's rows. For h, which may be written before that
  // read, the ring keeps the own rows of two steps.
  bool shares_rows() const { return step_ > kChunk && step_ >= kChunk + plan_.look_back; }
  int64_t zeros_size() const { return (bins_ + plan_.look_back + 1) * kLanes<T>; }

  const MultiOrderPlan<T>& plan_;
  const int64_t frames_, bins_, step_;
  std::vector<std::vector<Ring<T>>> stage_;
  T* zeros_ = nullptr;
};

// y = W_out q + b_out on a tile. One output channel is a dot product over all lanes; several are a matrix product.
template <class T>
class OutputProjection {
 public:
  OutputProjection(const MultiOrderPlan<T>& plan, int64_t out_channels)
      : targets_(lane_blocks<T>(out_channels)), shape_{plan.channels, int64_t(targets_.size())},
        packed_(out_channels == 1 ? plan.final_blocks * kLanes<T> : shape_.size()), single_(out_channels == 1),
        bias_(plan.b_out.size() > 0 ? plan.b_out[0] : T(0)) {
    if (single_)
      for (int64_t i = 0; i < plan.final_blocks; ++i)
        pack_vector(plan.w_out.data(), plan.lanes[i], packed_.data() + i * kLanes<T>);
    else
      pack_pointwise(plan.w_out.data(), plan.b_out.data(), plan.channels, targets_, packed_.data());
  }

  int64_t blocks() const { return shape_.blocks; }

  // y[o]: `points` elements of output channel o. lanes: a tile's rows for the matrix product.
  void run(GateChain<T>& chain, int64_t points, const std::vector<T*>& lanes, T* const* y) const {
    if (single_) return dot(chain.q(), points, y[0]);
    shape_.forward(packed_.data(), chain.source(chain.q(), shape_.channels), points, 0, shape_.blocks, lanes.data());
    for (int64_t i = 0; i < shape_.blocks; ++i) from_lanes(lanes[i], targets_[i].count, points, y + targets_[i].first);
  }

 private:
  void dot(const std::vector<T*>& q, int64_t points, T* y) const {
    for (int64_t p = 0; p < points; ++p) {
      Vec<T> sum{};
      for (size_t i = 0; i < q.size(); ++i) sum += load(q[i] + p * kLanes<T>) * load(packed_.data() + i * kLanes<T>);
      y[p] = lane_sum<T>(sum) + bias_;
    }
  }

  const std::vector<LaneBlock> targets_;
  const Pointwise<T> shape_;
  Buffer<T> packed_;
  const bool single_;
  const T bias_;
};

template <class T>
class MultiOrderConvJob final : public Job {
 public:
  explicit MultiOrderConvJob(const MultiOrderConvArgs& a)
      : a_(a), plan_(a), output_(plan_, a.out_channels), segments_(a.batch, a.frames, segment_frames(a)) {}

  int64_t tasks() const override { return segments_.count(); }

  void run(int64_t task) override {
    const Segment s = segments_[task];
    Task k(*this, s);
    const int64_t begin = std::max<int64_t>(0, s.first - plan_.stages * plan_.look_back);
    for (int64_t t = begin / kMultiOrderStep * kMultiOrderStep; t < s.last; t += kMultiOrderStep)
      k.step(Range{t, t + kMultiOrderStep}.clip(begin, s.last));
  }

 private:
  // Gives every thread a segment, unless segments become too short to be worth the recomputed left context. The value
  // of each frame does not depend on the cuts.
  static int64_t segment_frames(const MultiOrderConvArgs& a) {
    const int64_t cuts = ceil_div(std::max<int64_t>(1, a.threads), std::max<int64_t>(1, a.batch));
    return std::max<int64_t>(kMultiOrderSegment / 2, ceil_div(a.frames, cuts));
  }

  // The march over time through one segment.
  struct Task {
    const MultiOrderConvJob& job;
    const Segment s;
    const Feature<T> y;
    LaneSources<T> sources;
    Cascade<T> cascade;
    GateChain<T> chain;
    std::vector<T*> lanes, y_row, y_tile;
    std::vector<const T*> u;
    T* narrow = nullptr;

    Task(const MultiOrderConvJob& j, Segment segment)
        : job(j), s(segment), y(j.a_.y, j.a_.dtype, j.a_.out_channels, j.a_.frames, j.a_.bins),
          sources(Feature<T>(j.a_.x, j.a_.dtype, j.a_.in_channels, j.a_.frames, j.a_.bins), kMultiOrderStep),
          cascade(j.plan_, j.a_.frames, j.a_.bins, kMultiOrderStep), chain(j.plan_), y_row(j.a_.out_channels),
          y_tile(j.a_.out_channels), u(j.plan_.blocks.size()) {
      const auto layout = [&](Arena arena) {
        sources.layout(arena);
        cascade.layout(arena, [](int64_t, int64_t) { return int64_t(0); });
        chain.layout(arena);
        lanes = GateChain<T>::take_rows(arena, j.output_.blocks());
        narrow = arena.take<T>(y.scratch(j.a_.out_channels));
        return arena.used();
      };
      layout(Arena(thread_scratch(layout(Arena()))));
      cascade.clear();
    }

    void step(Range frames) {
      sources.read(s.utterance, frames);
      cascade.run(sources, frames, s.first);
      const Range own = frames.clip(s.first, s.last);
      for (int64_t t = own.first; t < own.last; ++t) finish_frame(t);
    }

    void finish_frame(int64_t t) {
      const bool direct = stored_as<T>(y.dtype);
      for (int64_t c = 0; c < y.channels; ++c)
        y_row[c] = direct ? static_cast<T*>(y.data) + y.offset(s.utterance, c, t) : narrow + c * y.bins;
      const PointTiles tiles{y.bins};
      for (int64_t i = 0; i < tiles.count(); ++i) {
        const Range tile = tiles[i];
        for (size_t b = 0; b < u.size(); ++b) u[b] = cascade.last(int64_t(b)).row(t) + tile.first * kLanes<T>;
        for (int64_t c = 0; c < y.channels; ++c) y_tile[c] = y_row[c] + tile.first;
        chain.run(u.data(), tile.size());
        job.output_.run(chain, tile.size(), lanes, y_tile.data());
      }
      if (direct) return;
      for (int64_t c = 0; c < y.channels; ++c)
        write_elements(y.data, y.dtype, y.offset(s.utterance, c, t), y_row[c], y.bins);
    }
  };

  const MultiOrderConvArgs a_;
  const MultiOrderPlan<T> plan_;
  const OutputProjection<T> output_;
  const Segments segments_;
};

inline std::unique_ptr<Job> multi_order_conv(const MultiOrderConvArgs& a) {
  return job_for<MultiOrderConvJob>(a.dtype, a);
}
