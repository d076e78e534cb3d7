// The latest frames of a tensor as sources of 1x1 convolutions. Frame t takes the place of frame t - capacity.

// Frames that are converted to lane rows. In the tensor the channels of a bin are a plane apart. A 1x1 convolution that
// walks 32 such streams, once for every two target blocks, waits for memory a third of its time.
template <class T>
class LaneSources {
 public:
  LaneSources(const Feature<T>& x, int64_t capacity)
      : x_(x), blocks_(lane_blocks<T>(x.channels)), channels_(capacity * x.channels), row_(kLanes<T>),
        capacity_(capacity) {}
  void layout(Arena& arena) {
    narrow_ = arena.take<T>(x_.scratch(kLanes<T>));
    lanes_ = arena.take<T>(capacity_ * int64_t(blocks_.size()) * row_size());
    const T** at = channels_.data();
    for (int64_t t = 0; t < capacity_; ++t)
      for (size_t i = 0; i < blocks_.size(); ++i) at = lane_channels<T>(at, lane_row(t, int64_t(i)), blocks_[i].count);
  }
  void read(int64_t b, Range frames) {
    for (int64_t t = frames.first; t < frames.last; ++t)
      for (size_t i = 0; i < blocks_.size(); ++i) {
        x_.read(b, t, blocks_[i].first, blocks_[i].count, row_.data(), narrow_);
        to_lanes(row_.data(), blocks_[i].count, x_.bins, lane_row(t, int64_t(i)));
      }
  }
  Lanes<T> operator[](int64_t t) const { return {channels_.data() + t % capacity_ * x_.channels}; }

 private:
  int64_t row_size() const { return x_.bins * kLanes<T>; }
  T* lane_row(int64_t t, int64_t block) const {
    return lanes_ + (t % capacity_ * int64_t(blocks_.size()) + block) * row_size();
  }

  const Feature<T> x_;
  const std::vector<LaneBlock> blocks_;
  std::vector<const T*> channels_, row_;
  const int64_t capacity_;
  T *narrow_ = nullptr, *lanes_ = nullptr;
};

// Frames that are read in place. They are converted if the tensor has a half type.
template <class T>
class PlaneSources {
 public:
  PlaneSources(const Feature<T>& x, int64_t capacity) : x_(x), rows_(capacity * x.channels), capacity_(capacity) {}
  void layout(Arena& arena) { narrow_ = arena.take<T>(x_.scratch(int64_t(rows_.size()))); }
  void read(int64_t b, Range frames) {
    for (int64_t t = frames.first; t < frames.last; ++t) {
      const int64_t at = t % capacity_ * x_.channels;
      x_.read(b, t, 0, x_.channels, rows_.data() + at, narrow_ ? narrow_ + at * x_.bins : nullptr);
    }
  }
  Planes<T> operator[](int64_t t) const { return {rows_.data() + t % capacity_ * x_.channels}; }

 private:
  const Feature<T> x_;
  std::vector<const T*> rows_;
  const int64_t capacity_;
  T* narrow_ = nullptr;
};
