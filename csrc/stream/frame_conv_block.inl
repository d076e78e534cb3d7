// The Conv-Block for one frame: y = out(causal 3x3(in(x))) · skip(x).
//
// The full 3x3 convolution of the network's first variant is computed as a 1x1 convolution too. Its sources are the
// channels of three frames, each at three places one bin apart: 9 C pointers into the history.

class ConvBlockFrame {
 public:
  static constexpr int64_t kTaps = 3;

  ConvBlockFrame(const Parameters::Block& p, int64_t in_channels, int64_t channels, bool depthwise)
      : targets_(lane_blocks<float>(channels)), depthwise_(depthwise), channels_(channels),
        in_{in_channels, int64_t(targets_.size())}, out_{channels, int64_t(targets_.size())},
        full_{kTaps * kTaps * channels, int64_t(targets_.size())}, w_in_(packed_pointwise(p.in, in_channels, targets_)),
        w_out_(packed_pointwise(p.out, channels, targets_)), w_skip_(packed_pointwise(p.skip, in_channels, targets_)) {
    depthwise ? pack_depthwise_taps(p.causal) : pack_full_taps(p.causal);
  }

  struct State {
    std::vector<History> history;
    Rows hidden, skip, y;
    std::vector<float*> entered;     // the place of in(x)
    std::vector<const float*> full;  // the sources of the full 3x3 convolution

    State(Arena& arena, const ConvBlockFrame& block)
        : hidden(arena, block.targets_), skip(arena, block.targets_), y(arena, block.targets_),
          entered(block.targets_.size()), full(block.depthwise_ ? 0 : kTaps * kTaps * block.channels_) {
      for (const LaneBlock& b : block.targets_) history.emplace_back(arena, b, kTaps);
    }
  };

  // Computes s.y from x, the source of the 1x1 convolutions in frame t.
  void run(State& s, Lanes<float> x, int64_t t) const {
    const int64_t blocks = int64_t(targets_.size());
    for (int64_t i = 0; i < blocks; ++i) s.entered[i] = s.history[i].row(t);
    in_.forward(w_in_.data(), x, kBins, 0, blocks, s.entered.data());
    depthwise_ ? depthwise(s, t) : full(s, t);
    out_.forward(w_out_.data(), s.hidden.channels(), kBins, 0, blocks, s.y.data());
    in_.forward(w_skip_.data(), x, kBins, 0, blocks, s.skip.data());
    for (int64_t i = 0; i < blocks; ++i) multiply(s.y[i], s.skip[i], kBins, s.y[i]);
  }

 private:
  // For each block: the taps, then the bias.
  void pack_depthwise_taps(const Parameters::Linear& p) {
    constexpr int64_t kVectors = kTaps * kTaps + 1;
    w_causal_ = Buffer<float>(int64_t(targets_.size()) * kVectors * kLanes<float>);
    float* to = w_causal_.data();
    for (const LaneBlock& b : targets_) {
      pack_depthwise(p.weight, kTaps * kTaps, b, to);
      pack_vector(p.bias, b, to + kTaps * kTaps * kLanes<float>);
      to += kVectors * kLanes<float>;
    }
  }
  void depthwise(State& s, int64_t t) const {
    constexpr int64_t kVectors = kTaps * kTaps + 1;
    const float* w = w_causal_.data();
    for (size_t i = 0; i < targets_.size(); ++i, w += kVectors * kLanes<float>) {
      const float* in[kTaps];
      s.history[i].window(t, in);
      const Vec<float> bias = load(w + kTaps * kTaps * kLanes<float>);
      each_tile([&](auto n, int64_t at) {
        convolve_tile<float, decltype(n)::value>(Taps<kTaps>(), s.hidden[i], in, at, w, bias);
      });
    }
  }

  // (targets, sources, 3, 3) -> the weight (targets, 3, 3, sources) of the 1x1 convolution.
  void pack_full_taps(const Parameters::Linear& p) {
    constexpr int64_t kAll = kTaps * kTaps;
    std::vector<float> weight(channels_ * kAll * channels_);
    for (int64_t o = 0; o < channels_; ++o)
      for (int64_t c = 0; c < channels_; ++c)
        for (int64_t k = 0; k < kAll; ++k)
          weight[(o * kAll + k) * channels_ + c] = p.weight[(o * channels_ + c) * kAll + k];
    w_causal_ = packed_pointwise({weight.data(), p.bias}, kAll * channels_, targets_);
  }
  void full(State& s, int64_t t) const {
    for (size_t i = 0; i < targets_.size(); ++i) {
      const float* in[kTaps];
      s.history[i].window(t, in);
      for (int64_t k = 0; k < kTaps * kTaps; ++k) {
        const float** at = s.full.data() + k * channels_ + int64_t(i) * kLanes<float>;
        lane_channels(at, in[k / kTaps] + k % kTaps * kLanes<float>, targets_[i].count);
      }
    }
    full_.forward(w_causal_.data(), Lanes<float>{s.full.data()}, kBins, 0, int64_t(targets_.size()), s.hidden.data());
  }

  std::vector<LaneBlock> targets_;
  bool depthwise_;
  int64_t channels_;
  Pointwise<float> in_, out_, full_;
  Buffer<float> w_in_, w_out_, w_skip_, w_causal_;
};
