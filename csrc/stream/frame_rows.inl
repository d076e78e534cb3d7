// Lane rows of consecutive frames, and how a stream's memory of them is saved.

// The first frame's number. It is large enough that the frames before it, all zero, have no negative numbers.
constexpr int64_t kFirstFrame = 6;
constexpr int64_t kRowSize = kBins * kLanes<float>;

// The input of a causal convolution that spans `taps` frames, for the channels of one lane block.
class History {
 public:
  History(Arena& arena, LaneBlock lanes, int64_t taps)
      : ring_(arena, taps, std::numeric_limits<int64_t>::max(), kBins, taps / 2), lanes_(lanes), taps_(taps) {}

  float* row(int64_t t) const { return ring_.row(t); }
  // in[i]: the first padding column of frame t - (taps - 1) + i.
  void window(int64_t t, const float** in) const {
    for (int64_t i = 0; i < taps_; ++i) in[i] = ring_.padded(t - taps_ + 1 + i, nullptr);
  }

  // The frames before t that a later frame looks back at, (channels, frames, bins), oldest first.
  int64_t size() const { return lanes_.count * (taps_ - 1) * kBins; }
  void save(int64_t t, float* to) const {
    float* row[kLanes<float>];
    for (int64_t i = 0; i < taps_ - 1; ++i) {
      for (int64_t l = 0; l < lanes_.count; ++l) row[l] = to + (l * (taps_ - 1) + i) * kBins;
      from_lanes(ring_.row(t - taps_ + 1 + i), lanes_.count, kBins, row);
    }
  }
  void load(int64_t t, const float* from) const {
    const float* row[kLanes<float>];
    for (int64_t i = 0; i < taps_ - 1; ++i) {
      for (int64_t l = 0; l < lanes_.count; ++l) row[l] = from + (l * (taps_ - 1) + i) * kBins;
      to_lanes(row, lanes_.count, kBins, ring_.row(t - taps_ + 1 + i));
    }
  }

 private:
  Ring<float> ring_;
  LaneBlock lanes_;
  int64_t taps_;
};

// Lane rows without memory of earlier frames, and their channels as the source of a 1x1 convolution.
class Rows {
 public:
  Rows() = default;
  Rows(Arena& arena, const std::vector<LaneBlock>& blocks) {
    for (const LaneBlock& b : blocks) {
      row_.push_back(arena.take<float>(kRowSize));
      if (row_.back() == nullptr) continue;  // in this case the arena only measures
      for (int64_t l = 0; l < b.count; ++l) channel_.push_back(row_.back() + l);
    }
  }
  float* operator[](int64_t block) const { return row_[block]; }
  float* const* data() const { return row_.data(); }
  Lanes<float> channels() const { return {channel_.data()}; }

 private:
  std::vector<float*> row_;
  std::vector<const float*> channel_;
};

// `rows` consecutive rows of a kernel's K rows of taps.
template <int K>
struct TapRows {
  static constexpr int columns = K, kColumns = K;
  int64_t rows;
};

// Calls tile(number of bins, start) for all bins, one register tile at a time.
// 257 = 2 · 16 + 15 · 15, so no bin is left over. A single bin would wait for its own sum K² times.
template <class Tile>
LITE_RTSE_INLINE void each_tile(Tile tile) {
  static_assert(kBins == 2 * 16 + 15 * 15);
  int64_t f = 0;
  for (; f < 2 * 16; f += 16) tile(std::integral_constant<int, 16>(), f * kLanes<float>);
  for (; f < kBins; f += 15) tile(std::integral_constant<int, 15>(), f * kLanes<float>);
}

// A depthwise stage, one frame at a time.
//
// The cost is not the arithmetic but the memory of earlier frames, which is read from beyond the second-level cache.
// The stage therefore does part of the next frame's work in every second frame, after it has read the K frames. It
// computes the next frame's sums over the K - 1 frames that the next frame looks back at. The next frame then reads
// only those sums and its own frame. A frame reads 3.5 frames on average instead of 6. The order of the terms is the
// same in both cases, so the result is the same to the bit.
template <int K>
class DepthwiseStage {
 public:
  DepthwiseStage(Arena& arena, LaneBlock lanes)
      : history_(arena, lanes, K), ahead_(arena.take<float>(kRowSize)), ahead_for_(arena.take<int64_t>(1)) {}

  const History& history() const { return history_; }

  // Computes y from the frames up to t. w: (taps, lanes), then the bias. With look_ahead it also computes sums for
  // frame t + 1.
  void run(int64_t t, float* y, const float* w, bool look_ahead) const {
    const float* x[K];
    history_.window(t, x);
    constexpr int64_t kRow = K * kLanes<float>;
    const Vec<float> bias = load(w + K * kRow);
    if (*ahead_for_ == t) {
      each_tile([&](auto n, int64_t at) {
        constexpr int N = decltype(n)::value;
        Vec<float> sum[N];
        for (int i = 0; i < N; ++i) sum[i] = load(ahead_ + at + i * kLanes<float>);
        accumulate_tile<float, N>(TapRows<K>{1}, sum, x + K - 1, at, w + (K - 1) * kRow);
        store_tile<float, N>(y + at, sum);
      });
      return;
    }
    each_tile([&](auto n, int64_t at) {
      constexpr int N = decltype(n)::value;
      convolve_tile<float, N>(Taps<K>(), y, x, at, w, bias);
      if (look_ahead) convolve_tile<float, N>(TapRows<K>{K - 1}, ahead_, x + 1, at, w, bias);
    });
    if (look_ahead) *ahead_for_ = t + 1;
  }

 private:
  History history_;
  float* ahead_;
  int64_t* ahead_for_;  // the frame that ahead_ belongs to; it is in the arena, so clearing the arena clears it
};

// The weights and bias of a 1x1 convolution, packed for the target channels in `blocks`.
inline Buffer<float> packed_pointwise(const Parameters::Linear& p, int64_t sources,
                                      const std::vector<LaneBlock>& blocks) {
  Buffer<float> packed(Pointwise<float>{sources, int64_t(blocks.size())}.size());
  pack_pointwise(p.weight, p.bias, sources, blocks, packed.data());
  return packed;
}
