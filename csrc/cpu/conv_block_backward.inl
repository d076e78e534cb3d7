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

template <class T, class Input>
class ConvBlockBackwardJob final : public Job {
  static constexpr int64_t kLag = 2, kTaps = ConvBlockWeights<T>::kTaps;

 public:
  explicit ConvBlockBackwardJob(const ConvBlockBackwardArgs& a)
      : a_(a), w_(f_), place_(w_), segments_(f_.batch, f_.frames, kConvBlockSegment),
        blocks_(int64_t(w_.targets.size())), sources_(lane_blocks<T>(f_.in_channels)),
        gradients_(a.wants_parameters() ? tasks() * place_.size : 0), flipped_(w_.w_dw.size()) {
    const int64_t source_blocks = int64_t(sources_.size());
    from_out_ = {f_.channels, blocks_};
    from_both_ = {2 * f_.channels, source_blocks};
    w_from_out_ = transposed({ConvBlockArgs::kOut}, f_.channels, from_out_);
    w_from_both_ = transposed({ConvBlockArgs::kIn, ConvBlockArgs::kSkip}, f_.in_channels, from_both_);
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
    if (!a_.wants_parameters()) return;
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
    const int64_t end;  // the first frame that this segment's gradients do not need
    T* sum;
    const Feature<T> dy, dx;
    PlaneSources<T> dy_frame;
    ConvBlockFront<T, Input> front;
    std::vector<Ring<T>> du, ds;
    std::vector<T*> dv, dh, dx_rows, du_at, ds_at;
    std::vector<const T*> dv_channel, both, dh_at;
    T* narrow = nullptr;

    Task(const ConvBlockBackwardJob& j, Segment segment, T* sums)
        : job(j), f(j.f_), s(segment), end(std::min(f.frames, s.last + kLag)), sum(sums),
          dy(j.a_.dy, f.dtype, f.channels, f.frames, f.bins), dx(j.a_.dx, f.dtype, f.in_channels, f.frames, f.bins),
          dy_frame(dy, 1), front(f, j.w_, kLag), du(j.blocks_), ds(j.blocks_), du_at(j.blocks_), ds_at(j.blocks_),
          dv_channel(f.channels), both(2 * f.channels), dh_at(j.blocks_) {
      layout(Arena(thread_scratch(layout(Arena()))));
      front.clear();
      for (Ring<T>& ring : du) ring.clear_padding();
      pointers(dv, dv_channel.data());
    }

    size_t layout(Arena arena) {
      front.layout(arena);
      dy_frame.layout(arena);
      for (Ring<T>& ring : du) ring = Ring<T>(arena, kChunk + kLag, f.frames, f.bins, 1);
      for (Ring<T>& ring : ds) ring = Ring<T>(arena, kChunk + kLag, f.frames, f.bins, 0);
      dv = take_rows(arena, job.blocks_);
      dx_rows = take_rows(arena, int64_t(job.sources_.size()));
      dh = take_rows(arena, job.blocks_ * kChunk);
      narrow = arena.take<T>(dx.scratch(kLanes<T>));
      return arena.used();
    }

    std::vector<T*> take_rows(Arena& arena, int64_t count) const {
      return row_table(arena.take<T>(count * front.row_size()), count, front.row_size());
    }

    void step(Range chunk) {
      const Range computed = chunk.clip(0, end);
      front.enter(s.utterance, computed);
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
      dy_frame.read(s.utterance, {t, t + 1});
      const Lanes<T> u = front.hidden_channels(r);
      const ConvBlockWeights<T>& w = job.w_;
      for (int64_t i = 0; i < job.blocks_; ++i) {
        to_lanes(dy_frame[t].channel + w.targets[i].first, w.targets[i].count, f.bins, dv[i]);
        ds_at[i] = ds[i].row(t);
        du_at[i] = du[i].row(t);
      }
      w.out.forward_times(w.w_out.data(), u, f.bins, dv.data(), ds_at.data());
      w.skip.forward_times(w.w_skip.data(), front.x(t), f.bins, dv.data(), dv.data());
      job.from_out_.forward(job.w_from_out_.data(), Lanes<T>{dv_channel.data()}, f.bins, 0, job.blocks_, du_at.data());
      if (job.a_.wants_parameters() && t < s.last) w.out.gradient(sum + job.place_.out, u, dv.data(), f.bins);
    }

    void depthwise_gradient(Range range) {
      if (!job.a_.wants_parameters() || range.size() == 0) return;
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

    // Computes dx of frame t and x's contribution to dW_in and dW_skip, as far as they are wanted; dh of t is row r.
    void input_gradient(int64_t t, int64_t r) {
      for (int64_t i = 0; i < job.blocks_; ++i) {
        dh_at[i] = dh[i * kChunk + r];
        ds_at[i] = ds[i].row(t);
      }
      pointers(ds_at, pointers(dh_at, both.data()));
      const ConvBlockWeights<T>& w = job.w_;
      if (job.a_.wants_parameters()) {
        w.in.gradient(sum + job.place_.in, front.x(t), dh_at.data(), f.bins);
        w.skip.gradient(sum + job.place_.skip, front.x(t), ds_at.data(), f.bins);
      }
      if (!job.a_.dx) return;
      job.from_both_.forward(job.w_from_both_.data(), Lanes<T>{both.data()}, f.bins, 0, job.from_both_.blocks,
                             dx_rows.data());
      for (size_t i = 0; i < dx_rows.size(); ++i)
        write_lanes(dx, s.utterance, t, job.sources_[i].first, job.sources_[i].count, dx_rows[i], narrow);
    }

    // Pointers to the block's own channels in lane rows.
    template <class P>
    const T** pointers(const std::vector<P>& rows, const T** at) const {
      for (int64_t i = 0; i < job.blocks_; ++i) at = lane_channels<T>(at, rows[i], job.w_.targets[i].count);
      return at;
    }
  };

  // The transposed weights of the layers in `indices`, one after the other in the order of their targets.
  Buffer<T> transposed(const std::vector<int>& indices, int64_t sources, Pointwise<T> shape) const {
    Buffer<T> w(shape.channels * sources), packed(shape.size());
    for (size_t i = 0; i < indices.size(); ++i)
      read_elements(f_.weight[indices[i]], f_.dtype, 0, w.data() + i * f_.channels * sources, f_.channels * sources);
    pack_pointwise_transposed(w.data(), shape.channels, sources, packed.data());
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
  Pointwise<T> from_out_, from_both_;
  Buffer<T> w_from_out_, w_from_both_;
};

inline std::unique_ptr<Job> conv_block_backward(const ConvBlockBackwardArgs& a) {
  return conv_block_job<ConvBlockBackwardJob>(a.forward, a);
}
