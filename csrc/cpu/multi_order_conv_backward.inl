// Gradients of the Multi-Order block. It keeps nothing of the forward pass but x and the weights.
//
// A task marches over time once. At the front of the march it computes the forward cascade and the gate chain's
// gradients. Let d_s be stage s of a block and G_s the gradient with respect to it; G_0 = dh, and the gate chain gives
// G_depth. Then
//
//   G_s[t]  = Σ_i w_s[k-1-i] G_{s+1}[t + i]          needs k - 1 frames more of G_{s+1} than it gives
//   dw_s   += G_{s+1}[t] ⋆ d_s[t - k + 1 … t]
//
// Each stage therefore follows the one above by k - 1 frames. Nothing recomputes left context or looks ahead: the rings
// of d_s keep the rows that the later gradients need. dh of all blocks is used (n - 1)(k - 1) frames behind the front.
// Beyond the end of the utterance, gradients are zero. Beyond the end of a segment, they are computed but not added to
// the sums.

// The place of each parameter's gradient in a task's partial sums. The layouts are those of the packed weights.
template <class T>
struct MultiOrderGradients {
  int64_t in = 0, dw, out, out_bias, size;
  std::vector<int64_t> pw;
  Pointwise<T> out_shape;  // of W_outᵀ: the sources are the output channels, the targets the final blocks

  MultiOrderGradients(const MultiOrderPlan<T>& plan, int64_t out_channels)
      : out_shape{out_channels, plan.final_blocks} {
    dw = plan.in.size();
    int64_t at = dw + plan.w_dw.size();
    for (const Pointwise<T>& p : plan.pw) {
      pw.push_back(at);
      at += p.size();
    }
    out = at;
    out_bias = out + out_shape.size();
    size = out_bias + ceil_div(out_channels, kLanes<T>) * kLanes<T>;
  }
};

template <class T>
class MultiOrderConvBackwardJob final : public Job {
 public:
  explicit MultiOrderConvBackwardJob(const MultiOrderConvBackwardArgs& a)
      : a_(a), plan_(f_), place_(plan_, f_.out_channels), segments_(f_.batch, f_.frames, kMultiOrderSegment),
        sources_(lane_blocks<T>(f_.in_channels)), gradients_(a.wants_parameters() ? tasks() * place_.size : 0),
        flipped_(plan_.w_dw.size()), w_from_out_(place_.out_shape.size()) {
    from_in_ = {2 * f_.channels, int64_t(sources_.size())};
    w_from_in_ = transposed(f_.in_index(), 2 * f_.channels, f_.in_channels, from_in_);
    for (int64_t k = 0; k < plan_.stages; ++k) {
      from_pw_.push_back({2 * plan_.gate[k], plan_.gate_blocks[k]});
      w_from_pw_.push_back(transposed(f_.pw_index(k), 2 * plan_.gate[k], plan_.gate[k], from_pw_[k]));
    }
    pack_pointwise_transposed(plan_.w_out.data(), f_.out_channels, f_.channels, w_from_out_.data());
    for (const auto& block : plan_.blocks)
      for (int64_t s = 0; s < block.depth; ++s) {
        const int64_t at = block.weights + s * plan_.stage_size();
        flip_taps(plan_.w_dw.data() + at, plan_.taps, flipped_.data() + at);
      }
  }

  int64_t tasks() const override { return segments_.count(); }

  void run(int64_t task) override {
    Task k(*this, segments_[task], gradients_.data() + task * place_.size);
    const int64_t halo = plan_.stages * plan_.look_back;
    for (int64_t t = std::max<int64_t>(0, k.s.first - halo); t < k.s.last + halo; t += kChunk) k.step({t, t + kChunk});
  }

  void finish() override {
    if (!a_.wants_parameters()) return;
    Buffer<T> sum(place_.size);
    for (int64_t i = 0; i < tasks(); ++i) accumulate(gradients_.data() + i * place_.size, place_.size, sum.data());
    finish_pointwise(f_.in_index(), f_.in_channels, 2 * f_.channels, sum.data() + place_.in, plan_.lanes);
    for (int64_t k = 0; k < plan_.stages; ++k) {
      finish_pointwise(f_.pw_index(k), plan_.gate[k], 2 * plan_.gate[k], sum.data() + place_.pw[k],
                       lane_blocks<T>(2 * plan_.gate[k]));
      finish_depthwise(k, sum.data() + place_.dw);
    }
    finish_output(sum.data());
  }

 private:
  // The march over time through one segment.
  struct Task {
    const MultiOrderConvBackwardJob& job;
    const MultiOrderPlan<T>& plan;
    const MultiOrderConvArgs& f;
    const Segment s;
    const int64_t halo, end;  // dh of [s.first, s.last) needs the gate-chain gradients of [s.first, end)
    T* sum;
    const Feature<T> dx;
    LaneSources<T> x;
    PlaneSources<T> dy;
    Cascade<T> cascade;
    std::vector<std::vector<Ring<T>>> gradient;  // G_s by block and stage
    GateChain<T> chain;
    std::vector<T*> dq, dp, dp_next, gu, dx_row;
    std::vector<const T*> u, dy_tile, channel;
    T* narrow = nullptr;

    Task(const MultiOrderConvBackwardJob& j, Segment segment, T* sums)
        : job(j), plan(j.plan_), f(j.f_), s(segment), halo(plan.stages * plan.look_back),
          end(std::min(f.frames, s.last + halo)), sum(sums), dx(j.a_.dx, f.dtype, f.in_channels, f.frames, f.bins),
          x(Feature<T>(f.x, f.dtype, f.in_channels, f.frames, f.bins), kChunk),
          dy(Feature<T>(j.a_.dy, f.dtype, f.out_channels, f.frames, f.bins), kChunk),
          cascade(plan, f.frames, f.bins, kChunk), gradient(plan.blocks.size()), chain(plan), gu(plan.blocks.size()),
          u(plan.blocks.size()), dy_tile(f.out_channels), channel(2 * f.channels) {
      layout(Arena(thread_scratch(layout(Arena()))));
      cascade.clear();
      for (std::vector<Ring<T>>& rings : gradient)
        for (Ring<T>& ring : rings) ring.clear_padding();
    }

    size_t layout(Arena arena) {
      x.layout(arena);
      dy.layout(arena);
      cascade.layout(arena, [&](int64_t block, int64_t stage) {
        const int64_t depth = plan.blocks[block].depth;
        return stage == depth ? int64_t(0) : (depth - stage - 1) * plan.look_back;
      });
      for (size_t b = 0; b < gradient.size(); ++b) {
        const int64_t depth = plan.blocks[b].depth;
        gradient[b].resize(depth + 1);
        for (int64_t stage = 0; stage <= depth; ++stage) {
          // dh waits for the deepest block. Every other stage waits for the k - 1 frames that the stage below needs.
          const int64_t kept = stage == 0 ? (plan.stages - depth) * plan.look_back : plan.look_back;
          gradient[b][stage] = Ring<T>(arena, kChunk + kept, f.frames, f.bins, stage == 0 ? 0 : plan.look_back / 2);
        }
      }
      chain.layout(arena);
      dq = GateChain<T>::take_rows(arena, plan.final_blocks);
      dp = GateChain<T>::take_rows(arena, plan.final_blocks);
      dp_next = GateChain<T>::take_rows(arena, plan.final_blocks);
      dx_row.resize(job.sources_.size());
      for (T*& row : dx_row) row = arena.take<T>(f.bins * kLanes<T>);
      narrow = arena.take<T>(dx.scratch(kLanes<T>));
      return arena.used();
    }

    void step(Range chunk) {
      const Range computed = chunk.clip(0, end);
      x.read(s.utterance, computed);
      cascade.run(x, computed, s.first);
      const Range needed = computed.clip(s.first, end);
      dy.read(s.utterance, needed);
      for (int64_t t = needed.first; t < needed.last; ++t) gate_gradients(t, dy[t]);
      for (size_t b = 0; b < gradient.size(); ++b) cascade_gradients(int64_t(b), chunk);
      const Range behind = chunk.shift(-halo).clip(s.first, s.last);
      if (wants_parameters()) x.read(s.utterance, behind);
      for (int64_t t = behind.first; t < behind.last; ++t) input_gradients(t);
    }

    bool wants_parameters() const { return job.a_.wants_parameters(); }

    void gate_gradients(int64_t t, Planes<T> dy_frame) {
      const PointTiles tiles{f.bins};
      for (int64_t i = 0; i < tiles.count(); ++i) {
        const Range tile = tiles[i];
        for (size_t b = 0; b < u.size(); ++b) {
          u[b] = cascade.last(int64_t(b)).row(t) + tile.first * kLanes<T>;
          gu[b] = gradient[b].back().row(t) + tile.first * kLanes<T>;
        }
        for (int64_t c = 0; c < f.out_channels; ++c) dy_tile[c] = dy_frame.channel[c] + tile.first;
        chain.run(u.data(), tile.size());
        gate_tile(tile.size(), wants_parameters() && t < s.last);
      }
    }

    // Computes the gradients of final, gates and p_0 from dy. `own`: this task adds the frame's parameter gradients to
    // its sums.
    void gate_tile(int64_t points, bool own) {
      const Planes<T> from{dy_tile.data()};
      job.place_.out_shape.forward(job.w_from_out_.data(), from, points, 0, plan.final_blocks, dq.data());
      if (own) {
        job.place_.out_shape.weight_gradient(sum + job.place_.out, from, chain.q().data(), points);
        for (int64_t c = 0; c < f.out_channels; ++c)
          sum[job.place_.out_bias + c] += std::accumulate(dy_tile[c], dy_tile[c] + points, T(0));
      }
      for (int64_t i = 0; i < plan.final_blocks; ++i) {
        multiply(dq[i], u[i], points, dp[i]);
        multiply(dq[i], chain.last_p()[i], points, gu[i]);
      }
      for (int64_t k = plan.stages - 1; k >= 0; --k) {
        if (own) plan.pw[k].gradient(sum + job.place_.pw[k], chain.s(k), dp.data(), points);
        const std::vector<T*> rows(dp.begin(), dp.begin() + plan.pw[k].blocks);
        job.from_pw_[k].forward(job.w_from_pw_[k].data(), chain.source(rows, 2 * plan.gate[k]), points, 0,
                                plan.gate_blocks[k], dp_next.data());
        for (int64_t i = 0; i < plan.gate_blocks[k]; ++i) {
          multiply(dp_next[i], chain.p(k)[i], points, gu[plan.gate_block[k] + i]);
          multiply(dp_next[i], u[plan.gate_block[k] + i], points, k == 0 ? gu[plan.p0_block + i] : dp[i]);
        }
      }
    }

    // Computes the weight gradients and G_{depth-1} … G_0 of one block. Each stage is k - 1 frames behind the one
    // above.
    void cascade_gradients(int64_t block, Range chunk) {
      const int64_t depth = plan.blocks[block].depth, look_back = plan.look_back;
      std::vector<const T*> rows(kChunk + look_back), g(kChunk);
      T* out[kChunk];
      for (int64_t stage = depth - 1; stage >= 0; --stage) {
        const Ring<T>& above = gradient[block][stage + 1];
        const int64_t at = plan.blocks[block].weights + stage * plan.stage_size();
        const Range lagged = chunk.shift(-(depth - 1 - stage) * look_back);
        const Range own = lagged.clip(s.first, s.last);
        if (wants_parameters() && own.size() > 0) {
          for (int64_t r = 0; r < own.size(); ++r) g[r] = above.row(own.first + r);
          padded_rows(cascade.ring(block, stage), own.first - look_back, own.size() + look_back, cascade.zeros(),
                      rows.data());
          T* dw = sum + job.place_.dw + at;
          plan.kernel.weight_gradient(g.data(), rows.data(), own.size(), f.bins, dw, dw + plan.taps * kLanes<T>);
        }
        // For each stage below G_stage, look_back more frames of G_stage are needed.
        const Range give = lagged.shift(-look_back).clip(s.first, std::min(f.frames, s.last + stage * look_back));
        padded_rows(above, give.first, give.size() + look_back, cascade.zeros(), rows.data());
        for (int64_t r = 0; r < give.size(); ++r) out[r] = gradient[block][stage].row(give.first + r);
        plan.kernel.convolve(out, rows.data(), give.size(), f.bins, job.flipped_.data() + at, cascade.zeros());
      }
    }

    void input_gradients(int64_t t) {
      const T** at = channel.data();
      for (size_t b = 0; b < gradient.size(); ++b) {
        u[b] = gradient[b][0].row(t);
        at = lane_channels<T>(at, u[b], plan.lanes[b].count);
      }
      if (wants_parameters()) plan.in.gradient(sum + job.place_.in, x[t], u.data(), f.bins);
      if (!job.a_.dx) return;
      job.from_in_.forward(job.w_from_in_.data(), Lanes<T>{channel.data()}, f.bins, 0, job.from_in_.blocks,
                           dx_row.data());
      for (size_t i = 0; i < dx_row.size(); ++i)
        write_lanes(dx, s.utterance, t, job.sources_[i].first, job.sources_[i].count, dx_row[i], narrow);
    }
  };

  Buffer<T> transposed(int64_t index, int64_t targets, int64_t sources, Pointwise<T> shape) const {
    const Buffer<T> w = read_parameter<T>(f_.weight[index], f_.dtype, targets * sources);
    Buffer<T> packed(shape.size());
    pack_pointwise_transposed(w.data(), targets, sources, packed.data());
    return packed;
  }

  void finish_pointwise(int64_t index, int64_t sources, int64_t targets, const T* packed,
                        const std::vector<LaneBlock>& blocks) const {
    Buffer<T> dw(targets * sources), db(targets);
    unpack_pointwise(packed, sources, blocks, dw.data(), db.data());
    write_parameter(a_.dweight[index], f_.dtype, dw);
    write_parameter(a_.dbias[index], f_.dtype, db);
  }

  void finish_depthwise(int64_t stage, const T* packed) const {
    const int64_t n = MultiOrderPlan<T>::stage_channels(f_, stage);
    Buffer<T> dw(n * plan_.taps), db(n);
    for (const auto& block : plan_.blocks) {
      if (stage >= block.depth) continue;
      const T* from = packed + block.weights + stage * plan_.stage_size();
      unpack_depthwise(from, plan_.taps, block.lanes, dw.data());
      unpack_vector(from + plan_.taps * kLanes<T>, block.lanes, db.data());
    }
    write_parameter(a_.dweight[f_.dw_index(stage)], f_.dtype, dw);
    write_parameter(a_.dbias[f_.dw_index(stage)], f_.dtype, db);
  }

  void finish_output(const T* sum) const {
    Buffer<T> dw(f_.out_channels * f_.channels), db(f_.out_channels);
    for (int64_t b = 0; b < plan_.final_blocks; ++b)
      for (int64_t o = 0; o < f_.out_channels; ++o)
        unpack_vector(sum + place_.out + b * place_.out_shape.block() + o * kLanes<T>, plan_.lanes[b],
                      dw.data() + o * f_.channels);
    std::copy_n(sum + place_.out_bias, f_.out_channels, db.data());
    write_parameter(a_.dweight[f_.out_index()], f_.dtype, dw);
    write_parameter(a_.dbias[f_.out_index()], f_.dtype, db);
  }

  const MultiOrderConvBackwardArgs a_;
  const MultiOrderConvArgs& f_ = a_.forward;
  const MultiOrderPlan<T> plan_;
  const MultiOrderGradients<T> place_;
  const Segments segments_;
  const std::vector<LaneBlock> sources_;
  Buffer<T> gradients_, flipped_, w_from_out_;
  Pointwise<T> from_in_;
  std::vector<Pointwise<T>> from_pw_;
  Buffer<T> w_from_in_;
  std::vector<Buffer<T>> w_from_pw_;
};

inline std::unique_ptr<Job> multi_order_conv_backward(const MultiOrderConvBackwardArgs& a) {
  return job_for<MultiOrderConvBackwardJob>(a.forward.dtype, a);
}
