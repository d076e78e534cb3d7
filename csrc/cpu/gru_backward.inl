// Gradients of a GRU over whole sequences; lanes are sequences. The forward pass kept r, z, n and n' of gru.inl:
//
//     dn = dh (1 - z) (1 - n²),   dn' = dn r,   dr = dn n' r (1 - r),   dz = dh (h' - n) z (1 - z)
//     dh' = dy' + dh z + W_hhᵀ [dr, dz, dn'],   dx = W_ihᵀ [dr, dz, dn]
//     dW_ih = Σ [dr, dz, dn] xᵀ,   dW_hh = Σ [dr, dz, dn'] h'ᵀ
//
// The march over time begins with the last frame. The products for x and the weights follow chunk by chunk, while the
// chunk's lane rows are in the cache. Each task has its own sums of the weights' gradients, which `finish` adds in
// order. The number of tasks depends on the sizes alone, so the result does not depend on the threads.

template <class T>
class GruBackwardJob final : public Job {
 public:
  using Cell = GruCell<T>;

  explicit GruBackwardJob(const RecurrentBackwardArgs& a)
      : a_(a), f_(a_.forward), chunk_(std::min(recurrent_chunk(f_.inputs, f_.units), f_.frames)),
        blocks_(lane_blocks<T>(f_.batch)), of_ih_{f_.units, f_.inputs}, of_hh_{f_.units, f_.units},
        units_(Columns<T>::pad(f_.units)), tasks_(int64_t(blocks_.size()), most_tasks()),
        sums_(a.dweight_hh[0] ? tasks_.count * f_.directions * sums_size() : 0) {
    for (int64_t d = 0; d < f_.directions; ++d) {
      weight_ih_.emplace_back(f_.weight_ih[d], f_.dtype, f_.units, f_.inputs);
      weight_hh_.emplace_back(f_.weight_hh[d], f_.dtype, f_.units, f_.units);
    }
  }
  int64_t tasks() const override { return tasks_.count; }

  void run(int64_t task) override {
    const int64_t inputs = Columns<T>::pad(f_.inputs), L = kLanes<T>;
    Scratch s;
    const auto layout = [&](Arena arena) {
      s.x = arena.take<T>(chunk_ * inputs * L);
      s.before = arena.take<T>(chunk_ * units_ * L);
      s.dy = arena.take<T>(chunk_ * units_ * L);
      s.d = arena.take<T>(chunk_ * Cell::kSums * units_ * L);
      s.dh = arena.take<T>(units_ * L);
      s.moved = arena.take<T>(chunk_ * std::max(inputs, units_) * L);
      return arena.used();
    };
    layout(Arena(thread_scratch(layout(Arena()))));
    std::fill_n(s.d, chunk_ * Cell::kSums * units_ * L, T(0));  // the padding stays so
    const Range blocks = tasks_[task];
    for (int64_t b = blocks.first; b < blocks.last; ++b)
      for (int64_t d = 0; d < f_.directions; ++d) sequences(blocks_[b], d, s, sums(task, d));
  }

  void finish() override {
    for (int64_t d = 0; d < f_.directions && a_.dweight_hh[0]; ++d) {
      const Buffer<T> total(sums_size());
      for (int64_t task = 0; task < tasks_.count; ++task) accumulate(sums(task, d), sums_size(), total.data());
      of_ih_.write(total.data(), f_.dtype, a_.dweight_ih[d]);
      of_hh_.write(total.data() + of_ih_.size(), f_.dtype, a_.dweight_hh[d]);
      const T* const bias = total.data() + of_ih_.size() + of_hh_.size();
      write_bias(bias, Cell::kInput, a_.dbias_ih[d]);
      write_bias(bias, Cell::kHidden, a_.dbias_hh[d]);
    }
  }

 private:
  // The numbers that the sums of all tasks may have together.
  static constexpr int64_t kMostSums = int64_t(1) << 22, kMostTasks = 64;

  struct Scratch {
    T *x, *before, *dy, *d, *dh, *moved;  // d: (frames, kSums, padded units, lanes)
  };

  // The sums of one task and direction: dW_ih, dW_hh, and for the biases (kSums, padded units, lanes).
  int64_t sums_size() const { return of_ih_.size() + of_hh_.size() + Cell::kSums * units_ * kLanes<T>; }
  T* sums(int64_t task, int64_t d) const { return sums_.data() + (task * f_.directions + d) * sums_size(); }
  int64_t most_tasks() const { return std::clamp<int64_t>(kMostSums / (f_.directions * sums_size()), 1, kMostTasks); }

  void sequences(LaneBlock block, int64_t d, const Scratch& s, T* sums) const {
    const Columns<T> x(f_.x, f_.dtype, f_.frames, f_.inputs, 0, f_.inputs), y = outputs(f_.y, d),
                                                                            dy = outputs(a_.dy, d);
    std::fill_n(s.dh, units_ * kLanes<T>, T(0));
    for (int64_t last = f_.frames; last > 0; last -= chunk_) {
      const Range steps{std::max<int64_t>(last - chunk_, 0), last}, time = in_time(steps, f_.frames, d);
      read_before(y, block, time, d, s);
      dy.read(block, time, s.dy, s.moved);
      for (int64_t step = steps.last - 1; step >= steps.first; --step)
        frame(in_time({step, step + 1}, f_.frames, d).first - time.first, block, d, step, s);
      if (a_.dweight_hh[0]) {
        x.read(block, time, s.x, s.moved);
        parameters(time.size(), s, sums);
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
      const auto [r, z, n, n_hidden] = value;
      const Vec<T> dh = load(s.dh + u * L) + load(s.dy + t * plane + u * L);
      const Vec<T> dn = dh * (1 - z) * (1 - n * n);
      store(sums + u * L, dn * n_hidden * r * (1 - r));
      store(sums + plane + u * L, dh * (load(s.before + t * plane + u * L) - n) * z * (1 - z));
      store(sums + 2 * plane + u * L, dn);
      store(sums + 3 * plane + u * L, dn * r);
      store(s.dh + u * L, dh * z);
    }
    weight_hh_[d].template add_product<Cell::kHidden>(sums, s.dh);
  }

  void parameters(int64_t frames, const Scratch& s, T* sums) const {
    const int64_t size = Cell::kSums * units_ * kLanes<T>;
    of_ih_.template add<Cell::kInput>(s.d, s.x, frames, sums);
    of_hh_.template add<Cell::kHidden>(s.d, s.before, frames, sums + of_ih_.size());
    for (int64_t t = 0; t < frames; ++t) accumulate(s.d + t * size, size, sums + of_ih_.size() + of_hh_.size());
  }

  // The second direction adds its part to that of the first.
  void input_gradient(LaneBlock block, Range time, int64_t d, const Scratch& s) const {
    const Columns<T> dx(a_.dx, f_.dtype, f_.frames, f_.inputs, 0, f_.inputs);
    const int64_t size = dx.padded() * kLanes<T>;
    if (d == 0) std::fill_n(s.x, time.size() * size, T(0));
    if (d > 0) dx.read(block, time, s.x, s.moved);
    for (int64_t t = 0; t < time.size(); ++t)
      weight_ih_[d].template add_product<Cell::kInput>(s.d + t * Cell::kSums * units_ * kLanes<T>, s.x + t * size);
    dx.write(block, time, s.x, s.moved);
  }

  void write_bias(const T* sums, const int (&plane)[Cell::kGates], void* to) const {
    const Buffer<T> bias(Cell::kGates * f_.units);
    for (int64_t k = 0; k < Cell::kGates; ++k)
      for (int64_t u = 0; u < f_.units; ++u)
        bias[k * f_.units + u] = lane_sum<T>(load(sums + (plane[k] * units_ + u) * kLanes<T>));
    write_parameter(to, f_.dtype, bias);
  }

  Columns<T> outputs(const void* data, int64_t d) const {
    return Columns<T>(data, f_.dtype, f_.frames, f_.directions * f_.units, d * f_.units, f_.units);
  }
  Columns<T> state(const void* data) const { return Columns<T>(data, f_.dtype, 1, f_.units, 0, f_.units); }

  const RecurrentBackwardArgs a_;
  const RecurrentArgs& f_;
  const int64_t chunk_;
  const std::vector<LaneBlock> blocks_;
  const OuterSums<Cell, T> of_ih_, of_hh_;
  const int64_t units_;  // padded
  const RecurrentTasks tasks_;
  const Buffer<T> sums_;
  std::vector<TransposedWeights<Cell, T>> weight_ih_, weight_hh_;
};
