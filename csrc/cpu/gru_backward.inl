// Gradients of a GRU over whole sequences; lanes are sequences. The forward pass kept r, z, n and n' of gru.inl:
//
//     dn = dh (1 - z) (1 - n²),   dn' = dn r,   dr = dn n' r (1 - r),   dz = dh (h' - n) z (1 - z)
//     dh' = dy' + dh z + W_hhᵀ [dr, dz, dn'],   dx = W_ihᵀ [dr, dz, dn]
//     dW_ih = Σ [dr, dz, dn] xᵀ,   dW_hh = Σ [dr, dz, dn'] h'ᵀ
//
// The march over time begins with the last frame. The products for x and the weights follow chunk by chunk, while the
// chunk's lane rows are in the cache.

// The gradients by the sums, and the part of dh that passes to the state before. V is a number or a vector.
template <class V>
struct GruGradient {
  V dr, dz, dn, dn_hidden, passed;

  LITE_RTSE_INLINE GruGradient(V r, V z, V n, V n_hidden, V before, V dh) {
    dn = dh * (1 - z) * (1 - n * n);
    dr = dn * n_hidden * r * (1 - r);
    dz = dh * (before - n) * z * (1 - z);
    dn_hidden = dn * r;
    passed = dh * z;
  }
};

template <class T>
class GruBackwardJob final : public Job {
 public:
  using Cell = GruCell<T>;

  explicit GruBackwardJob(const RecurrentBackwardArgs& a)
      : a_(a), f_(a_.forward), chunk_(std::min(recurrent_chunk(f_.inputs, f_.units), f_.frames)),
        blocks_(lane_blocks<T>(f_.batch)), units_(Columns<T>::pad(f_.units)), gradients_(a, int64_t(blocks_.size())) {
    for (int64_t d = 0; d < f_.directions; ++d) weight_hh_.emplace_back(f_.weight_hh[d], f_.dtype, f_.units, f_.units);
  }
  int64_t tasks() const override { return gradients_.tasks().count; }
  void finish() override { gradients_.write(); }

  void run(int64_t task) override {
    const int64_t inputs = Columns<T>::pad(f_.inputs), L = kLanes<T>;
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.x = arena.take<T>(chunk_ * inputs * L);
      s.before = arena.take<T>(chunk_ * units_ * L);
      s.dy = arena.take<T>(chunk_ * units_ * L);
      s.d = arena.take<T>(chunk_ * Cell::kSums * units_ * L);
      s.dh = arena.take<T>(units_ * L);
      s.moved = arena.take<T>(Columns<T>::scratch(chunk_, std::max(f_.inputs, f_.units)));
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    std::fill_n(s.d, chunk_ * Cell::kSums * units_ * L, T(0));  // the padding stays so
    const Range blocks = gradients_.tasks()[task];
    for (int64_t b = blocks.first; b < blocks.last; ++b)
      for (int64_t d = 0; d < f_.directions; ++d) sequences(task, blocks_[b], d, s);
  }

 private:
  struct Scratch {
    T *x, *before, *dy, *d, *dh, *moved;  // d: (frames, kSums, padded units, lanes)
  };

  void sequences(int64_t task, LaneBlock block, int64_t d, const Scratch& s) const {
    const Columns<T> x(f_.x, f_.dtype, f_.frames, f_.inputs, 0, f_.inputs), y = outputs(f_.y, d),
                                                                            dy = outputs(a_.dy, d);
    std::fill_n(s.dh, units_ * kLanes<T>, T(0));
    for (int64_t last = f_.frames; last > 0; last -= chunk_) {
      const Range steps{std::max<int64_t>(last - chunk_, 0), last}, time = in_time(steps, f_.frames, d);
      read_before(y, block, time, d, s);
      dy.read(block, time, s.dy, s.moved);
      for (int64_t step = steps.last - 1; step >= steps.first; --step)
        frame(in_time({step, step + 1}, f_.frames, d).first - time.first, block, d, step, s);
      if (gradients_.wants_parameters()) {
        x.read(block, time, s.x, s.moved);
        gradients_.add_parameters(task, d, time.size(), s.d, s.x, s.before);
      }
      if (a_.dx) input_gradient(block, time, d, s);
    }
    if (a_.dh0) state(a_.dh0).write({d * f_.batch + block.first, block.count}, {0, 1}, s.dh, s.moved);
  }

  // The state before each frame of a chunk: y of the frame before in the order of the direction, or h0.
  void read_before(const Columns<T>& y, LaneBlock block, Range time, int64_t d, const Scratch& s) const {
    const Range known = time.shift(d == 0 ? -1 : 1).clip(0, f_.frames);
    const int64_t size = units_ * kLanes<T>, missing = time.size() - known.size();
    y.read(block, known, s.before + (d == 0 ? missing * size : 0), s.moved);
    if (missing == 0) return;
    T* const first = s.before + (d == 0 ? 0 : known.size() * size);
    std::fill_n(first, size, T(0));
    if (f_.h0) state(f_.h0).read({d * f_.batch + block.first, block.count}, {0, 1}, first, s.moved);
  }

  // Computes the gradients by the sums of frame t of the chunk, and turns dh into that of the state before the frame.
  void frame(int64_t t, LaneBlock block, int64_t d, int64_t step, const Scratch& s) const {
    constexpr int64_t L = kLanes<T>;
    const Kept<Cell, T> all{static_cast<T*>(f_.kept), f_};
    const T* kept = all.at(block, d, step);
    const int64_t plane = units_ * L;
    T* const sums = s.d + t * Cell::kSums * plane;
    for (int64_t u = 0; u < f_.units; ++u) {
      Vec<T> value[Cell::kKept];
#pragma GCC unroll 4
      for (int k = 0; k < Cell::kKept; ++k, kept += block.count) value[k] = load_unaligned(kept);
      const Vec<T> dh = load(s.dh + u * L) + load(s.dy + t * plane + u * L);
      const GruGradient<Vec<T>> g(value[0], value[1], value[2], value[3], load(s.before + t * plane + u * L), dh);
      store(sums + u * L, g.dr);
      store(sums + plane + u * L, g.dz);
      store(sums + 2 * plane + u * L, g.dn);
      store(sums + 3 * plane + u * L, g.dn_hidden);
      store(s.dh + u * L, g.passed);
    }
    weight_hh_[d].template add_product<Cell::kHidden>(sums, s.dh);
  }

  // The second direction adds its part to that of the first.
  void input_gradient(LaneBlock block, Range time, int64_t d, const Scratch& s) const {
    const Columns<T> dx(a_.dx, f_.dtype, f_.frames, f_.inputs, 0, f_.inputs);
    if (d == 0) std::fill_n(s.x, time.size() * dx.padded() * kLanes<T>, T(0));
    if (d > 0) dx.read(block, time, s.x, s.moved);
    gradients_.add_input(d, time.size(), s.d, s.x);
    dx.write(block, time, s.x, s.moved);
  }

  Columns<T> outputs(const void* data, int64_t d) const {
    return Columns<T>(data, f_.dtype, f_.frames, f_.directions * f_.units, d * f_.units, f_.units);
  }
  Columns<T> state(const void* data) const { return Columns<T>(data, f_.dtype, 1, f_.units, 0, f_.units); }

  const RecurrentBackwardArgs a_;
  const RecurrentArgs& f_;
  const int64_t chunk_;
  const std::vector<LaneBlock> blocks_;
  const int64_t units_;  // padded
  const RecurrentGradients<Cell, T> gradients_;
  std::vector<TransposedWeights<Cell, T>> weight_hh_;
};
