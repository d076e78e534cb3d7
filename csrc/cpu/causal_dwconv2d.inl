// Causal depthwise convolution. Each task computes one lane block over a run of frames.

// With a dilation d, the frames k, k + d, k + 2d, … are convolved on their own, as if they followed one another.
// Without one, there is one such strand.

// to: every d-th of the `count` rows in `from`, beginning with row k. Returns their number.
template <class P>
int64_t every(int64_t d, int64_t k, P* const* from, int64_t count, P** to) {
  int64_t n = 0;
  for (int64_t i = k; i < count; i += d) to[n++] = from[i];
  return n;
}

constexpr int64_t kDwconvSegment = 256;  // frames per task; each task reads the kernel's left context again

template <class T>
class CausalDwconv2dJob final : public Job {
 public:
  explicit CausalDwconv2dJob(const CausalDwconv2dArgs& a)
      : a_(a), kernel_{a.taps_t, a.taps_f}, segments_(a.batch, a.frames, kDwconvSegment),
        blocks_(lane_blocks<T>(a.channels)), weight_(int64_t(blocks_.size()) * kernel_.taps() * kLanes<T>),
        bias_(int64_t(blocks_.size()) * kLanes<T>) {
    const Buffer<T> w = read_parameter<T>(a.weight, a.dtype, a.channels * kernel_.taps());
    const Buffer<T> b = read_parameter<T>(a.bias, a.dtype, a.channels);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      pack_depthwise(w.data(), kernel_.taps(), blocks_[i], weight_.data() + i * kernel_.taps() * kLanes<T>);
      pack_vector(b.data(), blocks_[i], bias_.data() + i * kLanes<T>);
    }
  }

  int64_t tasks() const override { return segments_.count() * int64_t(blocks_.size()); }

  void run(int64_t task) override {
    const Segment s = segments_[task / int64_t(blocks_.size())];
    const int64_t b = s.utterance, i = task % int64_t(blocks_.size());
    const LaneBlock block = blocks_[i];
    const Feature<T> x(a_.x, a_.dtype, a_.channels, a_.frames, a_.bins),
        y(a_.y, a_.dtype, a_.channels, a_.frames, a_.bins);
    const int64_t history = a_.history(), pad = kernel_.columns / 2, row_size = (a_.bins + 2 * pad + 1) * kLanes<T>;

    Ring<T> ring;
    T *zeros = nullptr, *out = nullptr, *narrow = nullptr;
    const auto layout = [&](Arena arena) {
      ring = Ring<T>(arena, kChunk + history, a_.frames, a_.bins, pad);
      zeros = arena.take<T>(row_size);
      out = arena.take<T>(kChunk * a_.bins * kLanes<T>);
      narrow = arena.take<T>(x.scratch(kLanes<T>));
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    std::fill_n(zeros, row_size, T(0));
    ring.clear_padding();

    const T* rows[kLanes<T>] = {};
    std::vector<const T*> in(kChunk + history), taps(kChunk + history);
    T *result[kChunk], *strand[kChunk];
    for (int64_t r = 0; r < kChunk; ++r) result[r] = out + r * a_.bins * kLanes<T>;
    for (int64_t t = std::max<int64_t>(0, s.first - history); t < s.last; t += kChunk) {
      const Range read = Range{t, t + kChunk}.clip(0, s.last), own = read.clip(s.first, s.last);
      for (int64_t r = read.first; r < read.last; ++r) {
        x.read(b, r, block.first, block.count, rows, narrow);
        to_lanes(rows, block.count, a_.bins, ring.row(r));
      }
      padded_rows(ring, own.first - history, own.size() + history, zeros, in.data());
      for (int64_t k = 0; k < std::min(a_.dilation, own.size()); ++k) {
        const int64_t n = every(a_.dilation, k, result, own.size(), strand);
        every(a_.dilation, k, in.data(), own.size() + history, taps.data());
        kernel_.convolve(strand, taps.data(), n, a_.bins, weight_.data() + i * kernel_.taps() * kLanes<T>,
                         bias_.data() + i * kLanes<T>);
      }
      for (int64_t r = 0; r < own.size(); ++r)
        write_lanes(y, b, own.first + r, block.first, block.count, result[r], narrow);
    }
  }

 private:
  const CausalDwconv2dArgs a_;
  const Depthwise<T> kernel_;
  const Segments segments_;
  const std::vector<LaneBlock> blocks_;
  Buffer<T> weight_, bias_;
};

// With kernel height kh and dilation d, dx[t] = Σ_i w[kh-1-i] dy[t + i d] needs the frames up to t + (kh - 1) d. The
// input gradient therefore follows the march over time by (kh - 1) d frames; dy beyond the end is zero. dw needs
// x[t - (kh - 1) d … t] and dy[t], both at the front of the march.
template <class T>
class CausalDwconv2dBackwardJob final : public Job {
 public:
  explicit CausalDwconv2dBackwardJob(const CausalDwconv2dBackwardArgs& a)
      : a_(a), kernel_{f_.taps_t, f_.taps_f}, segments_(f_.batch, f_.frames, kDwconvSegment),
        blocks_(lane_blocks<T>(f_.channels)), flipped_(int64_t(blocks_.size()) * kernel_.taps() * kLanes<T>),
        gradients_(a.wants_parameters() ? tasks() * gradient_size() : 0) {
    const Buffer<T> w = read_parameter<T>(f_.weight, f_.dtype, f_.channels * kernel_.taps());
    Buffer<T> packed(kernel_.taps() * kLanes<T>);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      pack_depthwise(w.data(), kernel_.taps(), blocks_[i], packed.data());
      flip_taps(packed.data(), kernel_.taps(), flipped_.data() + i * kernel_.taps() * kLanes<T>);
    }
  }

  int64_t tasks() const override { return segments_.count() * int64_t(blocks_.size()); }

  void run(int64_t task) override {
    const Segment s = segments_[task / int64_t(blocks_.size())];
    const int64_t i = task % int64_t(blocks_.size()), lag = f_.history(), end = std::min(f_.frames, s.last + lag);
    Scratch rows = scratch();
    for (int64_t t = std::max<int64_t>(0, s.first - lag); t < s.last + lag; t += kChunk) {
      const Range chunk{t, t + kChunk}, known = chunk.clip(0, end);
      if (a_.wants_parameters()) read(f_.x, s.utterance, blocks_[i], known, rows.x, rows);
      read(a_.dy, s.utterance, blocks_[i], known, rows.dy, rows);
      if (a_.wants_parameters()) weight_gradient(known.clip(s.first, s.last), task, rows);
      if (a_.dx) input_gradient(s.utterance, i, chunk.shift(-lag).clip(s.first, s.last), rows);
    }
  }

  void finish() override {
    if (!a_.wants_parameters()) return;
    const int64_t blocks = int64_t(blocks_.size());
    Buffer<T> dw(f_.channels * kernel_.taps()), db(f_.channels);
    for (int64_t i = 0; i < blocks; ++i) {
      Buffer<T> sum(gradient_size());
      for (int64_t k = 0; k < segments_.count(); ++k)
        accumulate(gradients_.data() + (k * blocks + i) * gradient_size(), gradient_size(), sum.data());
      unpack_depthwise(sum.data(), kernel_.taps(), blocks_[i], dw.data());
      unpack_vector(sum.data() + kernel_.taps() * kLanes<T>, blocks_[i], db.data());
    }
    write_parameter(a_.dweight, f_.dtype, dw);
    write_parameter(a_.dbias, f_.dtype, db);
  }

 private:
  struct Scratch {
    Ring<T> x, dy;
    T *zeros, *out, *narrow;           // a row; the rows of a chunk; for Feature
    std::vector<const T*> in, strand;  // rows with their context, all and those of one strand
  };

  Scratch scratch() const {
    const int64_t lag = f_.history(), pad = kernel_.columns / 2, row_size = (f_.bins + 2 * pad + 1) * kLanes<T>;
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.x = Ring<T>(arena, kChunk + lag, f_.frames, f_.bins, pad);
      s.dy = Ring<T>(arena, kChunk + lag, f_.frames, f_.bins, pad);
      s.zeros = arena.take<T>(row_size);
      s.out = arena.take<T>(kChunk * f_.bins * kLanes<T>);
      s.narrow = arena.take<T>(feature(f_.x).scratch(kLanes<T>));
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    std::fill_n(s.zeros, row_size, T(0));
    s.x.clear_padding();
    s.dy.clear_padding();
    s.in.resize(kChunk + lag);
    s.strand.resize(kChunk + lag);
    return s;
  }

  void read(const void* from, int64_t b, LaneBlock block, Range frames, const Ring<T>& to, const Scratch& s) const {
    const Feature<T> feature = this->feature(from);
    const T* rows[kLanes<T>] = {};
    for (int64_t r = frames.first; r < frames.last; ++r) {
      feature.read(b, r, block.first, block.count, rows, s.narrow);
      to_lanes(rows, block.count, f_.bins, to.row(r));
    }
  }

  void weight_gradient(Range frames, int64_t task, Scratch& s) {
    T *const dw = gradients_.data() + task * gradient_size(), *const db = dw + kernel_.taps() * kLanes<T>;
    const T *dy[kChunk] = {}, *strand[kChunk];
    for (int64_t r = 0; r < frames.size(); ++r) dy[r] = s.dy.row(frames.first + r);
    const int64_t lag = f_.history();
    padded_rows(s.x, frames.first - lag, frames.size() + lag, s.zeros, s.in.data());
    for (int64_t k = 0; k < std::min(f_.dilation, frames.size()); ++k) {
      const int64_t n = every(f_.dilation, k, dy, frames.size(), strand);
      every(f_.dilation, k, s.in.data(), frames.size() + lag, s.strand.data());
      kernel_.weight_gradient(strand, s.strand.data(), n, f_.bins, dw, db);
    }
  }

  void input_gradient(int64_t b, int64_t i, Range frames, Scratch& s) const {
    T *dx[kChunk], *strand[kChunk];
    for (int64_t r = 0; r < kChunk; ++r) dx[r] = s.out + r * f_.bins * kLanes<T>;
    const int64_t lag = f_.history();
    padded_rows(s.dy, frames.first, frames.size() + lag, s.zeros, s.in.data());
    for (int64_t k = 0; k < std::min(f_.dilation, frames.size()); ++k) {
      const int64_t n = every(f_.dilation, k, dx, frames.size(), strand);
      every(f_.dilation, k, s.in.data(), frames.size() + lag, s.strand.data());
      kernel_.convolve(strand, s.strand.data(), n, f_.bins, flipped_.data() + i * kernel_.taps() * kLanes<T>, s.zeros);
    }
    const Feature<T> to = feature(a_.dx);
    for (int64_t r = 0; r < frames.size(); ++r)
      write_lanes(to, b, frames.first + r, blocks_[i].first, blocks_[i].count, dx[r], s.narrow);
  }

  Feature<T> feature(const void* data) const { return Feature<T>(data, f_.dtype, f_.channels, f_.frames, f_.bins); }
  int64_t gradient_size() const { return (kernel_.taps() + 1) * kLanes<T>; }

  const CausalDwconv2dBackwardArgs a_;
  const CausalDwconv2dArgs& f_ = a_.forward;
  const Depthwise<T> kernel_;
  const Segments segments_;
  const std::vector<LaneBlock> blocks_;
  Buffer<T> flipped_, gradients_;
};

inline std::unique_ptr<Job> causal_dwconv2d(const CausalDwconv2dArgs& a) {
  return job_for<CausalDwconv2dJob>(a.dtype, a);
}
inline std::unique_ptr<Job> causal_dwconv2d_backward(const CausalDwconv2dBackwardArgs& a) {
  return job_for<CausalDwconv2dBackwardJob>(a.forward.dtype, a);
}
