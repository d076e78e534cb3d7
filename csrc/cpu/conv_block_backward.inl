// Gradients of the Conv-Block. With h = in(x), u = dw(h), v = out(u), s = skip(x), y = v * s:
//
//   dv = dy * s        ds = dy * v                     at the front of the march over time
//   du = W_outᵀ dv     dW_out += dv ⊗ u                at the front
//   dW_dw += du ⋆ h                                    at the front: h back to t - 2
//   dh[t] = Σ_i w_dw[2 - i] du[t + i]                  2 frames behind the front
//   dx = W_inᵀ dh + W_skipᵀ ds, dW_in += dh ⊗ x, dW_skip += ds ⊗ x     with dh
//
// The backward pass recomputes h, u, v and s from x. It keeps nothing of the forward pass but x and the weights.

// The place of each gradient in a task's partial sums. The packed layouts are those of the weights.
template <class T>
struct ConvBlockGradients {
  int64_t in, out, skip, dw, size;
  explicit ConvBlockGradients(const ConvBlockWeights<T>& w) {
    in = 0;
    out = in + w.in.size();
    skip = out + w.out.size();
    dw = skip + w.skip.size();
    size = dw + int64_t(w.targets.size()) * block();
  }
  static int64_t block() { return (ConvBlockWeights<T>::kTaps + 1) * kLanes<T>; }  // taps, then the bias
};

template <class T>
class ConvBlockBackwardJob final : public Job {
  static constexpr int64_t kLag = 2, kTaps = ConvBlockWeights<T>::kTaps;

 public:
  explicit ConvBlockBackwardJob(const ConvBlockBackwardArgs& a)
      : a_(a), w_(f_), place_(w_), segments_(f_.batch, f_.frames, kConvBlockSegment),
        blocks_(int64_t(w_.targets.size())), sources_(lane_blocks<T>(f_.in_channels)),
        gradients_(tasks() * place_.size), flipped_(w_.w_dw.size()) {
    const int64_t source_blocks = int64_t(sources_.size());
    from_out_ = {f_.channels, blocks_};
    from_in_ = {f_.channels, source_blocks};
    w_from_out_ = transposed(ConvBlockArgs::kOut, f_.channels, from_out_);
    w_from_in_ = transposed(ConvBlockArgs::kIn, f_.in_channels, from_in_);
    w_from_skip_ = transposed(ConvBlockArgs::kSkip, f_.in_channels, from_in_);
    for (int64_t i = 0; i < blocks_; ++i)
      flip_taps(w_.w_dw.data() + i * kTaps * kLanes<T>, kTaps, flipped_.data() + i * kTaps * kLanes<T>);
  }

  int64_t tasks() const override { return segments_.count(); }

  void run(int64_t task) override {
    Task k(*this, segments_[task], gradients_.data() + task * place_.size);
    const int64_t start = std::max<int64_t>(0, k.s.first - 2);
    for (int64_t t = start; t < k.s.last + kLag; t += kChunk) k.step({t, t + kChunk});
  }

  void finish() override {
    Buffer<T> sum(place_.size);
    for (int64_t i = 0; i < tasks(); ++i) accumulate(gradients_.data() + i * place_.size, place_.size, sum.data());
    finish_pointwise(ConvBlockArgs::kIn, f_.in_channels, sum.data() + place_.in);
    finish_pointwise(ConvBlockArgs::kOut, f_.channels, sum.data() + place_.out);
    finish_pointwise(ConvBlockArgs::kSkip, f_.in_channels, sum.data() + place_.skip);
    Buffer<T> dw(f_.channels * kTaps), db(f_.channels);
    for (int64_t i = 0; i < blocks_; ++i) {
      const T* packed = sum.data() + place_.dw + i * place_.block();
      unpack_depthwise(packed, kTaps, w_.targets[i], dw.data());
      unpack_vector(packed + kTaps * kLanes<T>, w_.targets[i], db.data());
    }
    write_parameter(a_.dweight[ConvBlockArgs::kDw], f_.dtype, dw);
    write_parameter(a_.dbias[ConvBlockArgs::kDw], f_.dtype, db);
  }

 private:
  // The march over time through one segment.
  struct Task {
    const ConvBlockBackwardJob& job;
    const ConvBlockArgs& f;
    const Segment s;
    const int64_t end;  // the number of frames from s.first on that this segment's gradients need
    T* sum;
    const Feature<T> dy, dx;
    ConvBlockFront<T> front;
    std::vector<Ring<T>> du, ds;
    std::vector<T*> v, skip, dv, dh, dx_row;
    std::vector<const T*> channel;

    Task(const ConvBlockBackwardJob& j, Segment segment, T* sums)
        : job(j), f(j.f_), s(segment), end(std::min(f.frames, s.last + kLag)), sum(sums),
          dy(j.a_.dy, f.dtype, f.channels, f.frames, f.bins), dx(j.a_.dx, f.dtype, f.in_channels, f.frames, f.bins),
          front(f, j.w_), du(j.blocks_), ds(j.blocks_), channel(f.channels) {
      T* rows = nullptr;
      const int64_t sources = int64_t(j.sources_.size());
      const auto layout = [&](Arena arena) {
        front.layout(arena, kChunk + 2);
        for (Ring<T>& ring : du) ring = Ring<T>(arena, kChunk + kLag, f.frames, f.bins, 1);
        for (Ring<T>& ring : ds) ring = Ring<T>(arena, kChunk + kLag, f.frames, f.bins, 0);
        rows = arena.take<T>((3 * j.blocks_ + sources + kChunk * j.blocks_) * front.row_size());
        return arena.used();
      };
      layout(Arena(thread_scratch(layout(Arena()))));
      front.clear();
      for (Ring<T>& ring : du) ring.clear_padding();
      const int64_t size = front.row_size();
      v = row_table(rows, j.blocks_, size);
      skip = row_table(rows + j.blocks_ * size, j.blocks_, size);
      dv = row_table(rows + 2 * j.blocks_ * size, j.blocks_, size);
      dx_row = row_table(rows + 3 * j.blocks_ * size, sources, size);
      dh = row_table(rows + (3 * j.blocks_ + sources) * size, j.blocks_ * kChunk, size);
    }

    void step(Range chunk) {
      const Range computed = chunk.clip(0, end);
      for (int64_t t = computed.first; t < computed.last; ++t) front.enter(front.x(s.utterance, t), t);
      const Range needed = computed.clip(s.first, end);
      front.depthwise(needed);
      for (int64_t t = needed.first; t < needed.last; ++t) split_product(t, t - needed.first);
      depthwise_gradient(needed.clip(s.first, s.last));
      const Range behind = chunk.shift(-kLag).clip(s.first, s.last);
      hidden_gradient(behind);
      for (int64_t t = behind.first; t < behind.last; ++t) input_gradient(t, t - behind.first);
    }

    // Computes dv, ds, du and dW_out of frame t; the frame's u is hidden row r.
    void split_product(int64_t t, int64_t r) {
      const Source<T> u = front.hidden_channels(r);
      job.w_.out.forward(job.w_.w_out.data(), u, f.bins, 0, job.blocks_, v.data());
      job.w_.skip.forward(job.w_.w_skip.data(), front.x(s.utterance, t), f.bins, 0, job.blocks_, skip.data());
      const T* row[kLanes<T>] = {};
      std::vector<T*> du_row(job.blocks_);
      const T** at = channel.data();
      for (int64_t i = 0; i < job.blocks_; ++i) {
        const LaneBlock block = job.w_.targets[i];
        dy.read(s.utterance, t, block.first, block.count, row, front.narrow());
        to_lanes(row, block.count, f.bins, dv[i]);
        multiply(dv[i], v[i], f.bins, ds[i].row(t));
        multiply(dv[i], skip[i], f.bins, dv[i]);
        at = lane_channels<T>(at, dv[i], block.count);
        du_row[i] = du[i].row(t);
      }
      job.from_out_.forward(job.w_from_out_.data(), {channel.data(), kLanes<T>}, f.bins, 0, job.blocks_, du_row.data());
      if (t < s.last) job.w_.out.gradient(sum + job.place_.out, u, dv.data(), f.bins);
    }

    void depthwise_gradient(Range range) {
      if (range.size() == 0) return;
      const T *g[kChunk], *h[kChunk + 2];
      for (int64_t i = 0; i < job.blocks_; ++i) {
        for (int64_t r = 0; r < range.size(); ++r) g[r] = du[i].row(range.first + r);
        padded_rows(front.ring(i), range.first - 2, range.size() + 2, front.zeros(), h);
        T* dw = sum + job.place_.dw + i * job.place_.block();
        front.kernel().weight_gradient(g, h, range.size(), f.bins, dw, dw + kTaps * kLanes<T>);
      }
    }

    void hidden_gradient(Range range) {
      const T* g[kChunk + 2];
      for (int64_t i = 0; i < job.blocks_; ++i) {
        padded_rows(du[i], range.first, range.size() + 2, front.zeros(), g);
        front.kernel().convolve(dh.data() + i * kChunk, g, range.size(), f.bins,
                                job.flipped_.data() + i * kTaps * kLanes<T>, front.zeros());
      }
    }

    // Computes dx of frame t and x's contribution to dW_in and dW_skip; dh of t is row r.
    void input_gradient(int64_t t, int64_t r) {
      const int64_t sources = int64_t(job.sources_.size());
      const Source<T> x = front.x(s.utterance, t);
      std::vector<const T*> h_row(job.blocks_), s_row(job.blocks_);
      for (int64_t i = 0; i < job.blocks_; ++i) {
        h_row[i] = dh[i * kChunk + r];
        s_row[i] = ds[i].row(t);
      }
      job.w_.in.gradient(sum + job.place_.in, x, h_row.data(), f.bins);
      job.w_.skip.gradient(sum + job.place_.skip, x, s_row.data(), f.bins);
      job.from_in_.forward(job.w_from_in_.data(), channels(h_row), f.bins, 0, sources, dx_row.data());
      job.from_in_.template forward<true>(job.w_from_skip_.data(), channels(s_row), f.bins, 0, sources, dx_row.data());
      for (int64_t i = 0; i < sources; ++i)
        write_lanes(dx, s.utterance, t, job.sources_[i].first, job.sources_[i].count, dx_row[i], front.narrow());
    }

    Source<T> channels(const std::vector<const T*>& rows) {
      const T** at = channel.data();
      for (int64_t i = 0; i < job.blocks_; ++i) at = lane_channels<T>(at, rows[i], job.w_.targets[i].count);
      return {channel.data(), kLanes<T>};
    }
  };

  Buffer<T> transposed(int index, int64_t sources, Pointwise<T> shape) const {
    const Buffer<T> w = read_parameter<T>(f_.weight[index], f_.dtype, f_.channels * sources);
    Buffer<T> packed(shape.size());
    pack_pointwise_transposed(w.data(), f_.channels, sources, packed.data());
    return packed;
  }

  void finish_pointwise(int index, int64_t sources, const T* packed) const {
    Buffer<T> dw(f_.channels * sources), db(f_.channels);
    unpack_pointwise(packed, sources, w_.targets, dw.data(), db.data());
    write_parameter(a_.dweight[index], f_.dtype, dw);
    write_parameter(a_.dbias[index], f_.dtype, db);
  }

  const ConvBlockBackwardArgs a_;
  const ConvBlockArgs& f_ = a_.forward;
  const ConvBlockWeights<T> w_;
  const ConvBlockGradients<T> place_;
  const Segments segments_;
  const int64_t blocks_;
  const std::vector<LaneBlock> sources_;
  Buffer<T> gradients_, flipped_;
  Pointwise<T> from_out_, from_in_;
  Buffer<T> w_from_out_, w_from_in_, w_from_skip_;
};

inline std::unique_ptr<Job> conv_block_backward(const ConvBlockBackwardArgs& a) {
  return job_for<ConvBlockBackwardJob>(a.forward.dtype, a);
}
