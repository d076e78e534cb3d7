// The Multi-Order block for one frame. It uses the plan, packed weights and gate chain of the batch kernel.

class MultiOrderFrame {
 public:
  static constexpr int64_t kTaps = 7;

  explicit MultiOrderFrame(const MultiOrderConvArgs& a) : plan_(a), w_out_(plan_.final_blocks * kLanes<float>) {
    for (int64_t i = 0; i < plan_.final_blocks; ++i)
      pack_vector(plan_.w_out.data(), plan_.lanes[i], w_out_.data() + i * kLanes<float>);
  }

  struct State {
    std::vector<std::vector<DepthwiseStage<kTaps>>> stages;  // of each block
    Rows last;                                               // the last stage of each block
    GateChain<float> chain;
    std::vector<const float*> u;

    State(Arena& arena, const MultiOrderFrame& block)
        : stages(block.plan_.blocks.size()), last(arena, block.plan_.lanes), chain(block.plan_),
          u(block.plan_.blocks.size()) {
      for (size_t b = 0; b < stages.size(); ++b)
        for (int64_t s = 0; s < block.plan_.blocks[b].depth; ++s)
          stages[b].emplace_back(arena, block.plan_.blocks[b].lanes);
      chain.layout(arena);
    }
    // The result of stage s of block b in frame t.
    float* row(int64_t b, int64_t s, int64_t t) const {
      return s < int64_t(stages[b].size()) ? stages[b][s].history().row(t) : last[b];
    }
  };

  // y: one channel of frame t, computed from x, the source of the 1x1 convolution.
  void run(State& s, Lanes<float> x, int64_t t, float* y) const {
    const int64_t blocks = int64_t(plan_.blocks.size());
    for (int64_t b = 0; b < blocks; b += 2) {
      const int64_t pair = std::min<int64_t>(2, blocks - b);
      float* h[2] = {s.row(b, 0, t), pair == 2 ? s.row(b + 1, 0, t) : nullptr};
      plan_.in.forward(plan_.w_in.data(), x, kBins, b, pair, h);
      for (int64_t i = b; i < b + pair; ++i) cascade(s, i, t);
    }
    const PointTiles tiles{kBins};
    for (int64_t i = 0; i < tiles.count(); ++i) gate_tile(s, tiles[i], y);
  }

 private:
  // Half of all stages look ahead in even frames, the others in odd frames. Every frame thus takes the same time.
  void cascade(State& s, int64_t block, int64_t t) const {
    for (int64_t k = 0; k < plan_.blocks[block].depth; ++k)
      s.stages[block][k].run(t, s.row(block, k + 1, t), plan_.stage_weights(block, k), (block + k + t) % 2 == 0);
  }

  void gate_tile(State& s, Range bins, float* y) const {
    constexpr int64_t L = kLanes<float>;
    for (size_t b = 0; b < s.u.size(); ++b) s.u[b] = s.last[int64_t(b)] + bins.first * L;
    s.chain.run(s.u.data(), bins.size());
    const std::vector<float*>& q = s.chain.q();
    for (int64_t p = 0; p < bins.size(); ++p) {
      Vec<float> sum{};
      for (size_t i = 0; i < q.size(); ++i) sum += load(q[i] + p * L) * load(w_out_.data() + int64_t(i) * L);
      y[bins.first + p] = lane_sum<float>(sum) + plan_.b_out[0];
    }
  }

  MultiOrderPlan<float> plan_;
  Buffer<float> w_out_;
};
