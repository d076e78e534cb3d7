// The Multi-Order block's geometry and packed weights.
//
// The 2C channels of h = in(x) form groups by their path through the block. Every stage splits off its last channels as
// a gate. The groups in channel order: `final` (C channels, through all n - 1 stages), gate_{n-2} (all stages),
// gate_{n-3} (one stage less), …, gate_0 (one stage), p_0 (none). Each group starts a new lane block, so every block
// has a single depth. Gates, p_k and their products are then whole vectors that line up. Idle lanes (g_k < kLanes) cost
// 3 % at C = 64, n = 5 and 16 lanes.

constexpr int64_t kMultiOrderSegment =
    256;  // frames per gradient task; each task recomputes (n - 1)(k - 1) = 24 on either side
constexpr int64_t kMultiOrderStep = 2 * kChunk;  // frames of one block before the next block follows

template <class T>
struct MultiOrderPlan {
  struct Block {
    LaneBlock lanes;
    int64_t depth;    // the number of depthwise stages of this block
    int64_t weights;  // the start of its stages' weights, (taps + 1) vectors each: the taps, then the bias
  };

  int64_t stages, taps, look_back, channels;
  std::vector<Block> blocks;
  std::vector<LaneBlock> lanes;      // of all blocks
  int64_t final_blocks, p0_block;    // blocks [0, final_blocks) are `final`
  std::vector<int64_t> gate_block;   // first block of gate_k
  std::vector<int64_t> gate_blocks;  // the number of blocks of gate_k
  std::vector<int64_t> gate;         // channels of gate_k
  Pointwise<T> in;
  std::vector<Pointwise<T>> pw;
  Buffer<T> w_in, w_dw, w_out, b_out;
  std::vector<Buffer<T>> w_pw;
  Depthwise<T> kernel;

  explicit MultiOrderPlan(const MultiOrderConvArgs& a)
      : stages(a.stages()), taps(a.taps * a.taps), look_back(a.taps - 1), channels(a.channels), kernel{a.taps, a.taps} {
    place_blocks(a);
    in = {a.in_channels, int64_t(blocks.size())};
    w_in = packed(a, a.in_index(), a.in_channels, 2 * channels, lanes);
    for (int64_t k = 0; k < stages; ++k) {
      const std::vector<LaneBlock> targets = lane_blocks<T>(2 * gate[k]);
      pw.push_back({gate[k], int64_t(targets.size())});
      w_pw.push_back(packed(a, a.pw_index(k), gate[k], 2 * gate[k], targets));
    }
    pack_depthwise_stages(a);
    w_out = read_parameter<T>(a.weight[a.out_index()], a.dtype, a.out_channels * channels);
    b_out = read_parameter<T>(a.bias[a.out_index()], a.dtype, a.out_channels);
  }

  int64_t stage_size() const { return (taps + 1) * kLanes<T>; }
  const T* stage_weights(int64_t block, int64_t stage) const {
    return w_dw.data() + blocks[block].weights + stage * stage_size();
  }
  // Stage k has channels for all blocks deeper than k.
  static int64_t stage_channels(const MultiOrderConvArgs& a, int64_t k) {
    int64_t n = 2 * a.channels - a.gate(0);
    for (int64_t i = 0; i < k; ++i) n -= a.gate(i);
    return n;
  }

 private:
  void place_blocks(const MultiOrderConvArgs& a) {
    int64_t channel = 0, weights = 0;
    const auto group = [&](int64_t count, int64_t depth) {
      const int64_t first = int64_t(blocks.size());
      for (const LaneBlock& l : lane_blocks<T>(count, channel)) {
        blocks.push_back({l, depth, weights});
        lanes.push_back(l);
        weights += depth * stage_size();
      }
      channel += count;
      return first;
    };
    group(channels, stages);
    final_blocks = int64_t(blocks.size());
    gate.resize(stages);
    gate_block.resize(stages);
    gate_blocks.resize(stages);
    for (int64_t k = stages - 1; k >= 0; --k) {
      gate[k] = a.gate(k);
      gate_block[k] = group(gate[k], k + 1);
      gate_blocks[k] = int64_t(blocks.size()) - gate_block[k];
    }
    p0_block = group(a.gate(0), 0);
    w_dw = Buffer<T>(weights);
  }

  static Buffer<T> packed(const MultiOrderConvArgs& a, int64_t index, int64_t sources, int64_t targets,
                          const std::vector<LaneBlock>& blocks) {
    const Buffer<T> w = read_parameter<T>(a.weight[index], a.dtype, targets * sources);
    const Buffer<T> b = read_parameter<T>(a.bias[index], a.dtype, targets);
    Buffer<T> result(Pointwise<T>{sources, int64_t(blocks.size())}.size());
    pack_pointwise(w.data(), b.data(), sources, blocks, result.data());
    return result;
  }

  void pack_depthwise_stages(const MultiOrderConvArgs& a) {
    for (int64_t s = 0; s < stages; ++s) {
      const int64_t n = stage_channels(a, s);
      const Buffer<T> w = read_parameter<T>(a.weight[a.dw_index(s)], a.dtype, n * taps);
      const Buffer<T> b = read_parameter<T>(a.bias[a.dw_index(s)], a.dtype, n);
      for (const Block& block : blocks) {
        if (s >= block.depth) continue;
        T* to = w_dw.data() + block.weights + s * stage_size();
        pack_depthwise(w.data(), taps, block.lanes, to);
        pack_vector(b.data(), block.lanes, to + taps * kLanes<T>);
      }
    }
  }
};
