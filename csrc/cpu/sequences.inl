// Moves sequences between their tensors and lane rows.
//
// A recurrent layer with many short sequences computes kLanes sequences at once. A lane row here is one number of one
// frame of these sequences. A weight is then a scalar for all of them, and any number of units fits without waste.

// `count` columns, from `first` on, of a stored (sequences, frames, width) tensor. In lane rows, a frame has `padded`
// columns. The columns beyond `count` and the idle lanes are zero.
template <class T>
struct Columns {
  static constexpr int64_t kMultiple = 4;

  void* data;
  DType dtype;
  int64_t frames, width, first, count;

  Columns(const void* data_, DType dtype_, int64_t frames_, int64_t width_, int64_t first_, int64_t count_)
      : data(const_cast<void*>(data_)), dtype(dtype_), frames(frames_), width(width_), first(first_), count(count_) {}

  static constexpr int64_t pad(int64_t columns) { return ceil_div(columns, kMultiple) * kMultiple; }
  int64_t padded() const { return pad(count); }
  // The scratch elements that moving `n` frames of so many columns needs.
  static constexpr int64_t scratch(int64_t n, int64_t columns) { return kLanes<T> * n * pad(columns); }

  // lane_row[(t - moved.first) * padded + c][l] = column c of frame t of sequence block.first + l.
  void read(LaneBlock block, Range moved, T* lane_row, T* scratch) const {
    const int64_t size = moved.size() * padded();
    const T* row[kLanes<T>] = {};
    for (int64_t l = 0; l < block.count; ++l) {
      const int64_t at = offset(block.first + l, moved.first);
      row[l] = in_place() ? static_cast<const T*>(data) + at : scratch + l * size;
      if (!in_place()) read_pieces(at, moved.size(), scratch + l * size);
    }
    to_lanes(row, block.count, size, lane_row);
  }
  void write(LaneBlock block, Range moved, const T* lane_row, T* scratch) const {
    const int64_t size = moved.size() * padded();
    T* row[kLanes<T>] = {};
    for (int64_t l = 0; l < block.count; ++l)
      row[l] = in_place() ? static_cast<T*>(data) + offset(block.first + l, moved.first) : scratch + l * size;
    from_lanes(lane_row, block.count, size, row);
    for (int64_t l = 0; l < block.count && !in_place(); ++l)
      write_pieces(row[l], moved.size(), offset(block.first + l, moved.first));
  }

 private:
  bool in_place() const { return stored_as<T>(dtype) && width == count && count == padded(); }
  int64_t offset(int64_t sequence, int64_t frame) const { return (sequence * frames + frame) * width + first; }

  void read_pieces(int64_t at, int64_t n, T* to) const {
    for (int64_t t = 0; t < n; ++t, at += width, to += padded()) {
      if (stored_as<T>(dtype))
        copy_piece(static_cast<const T*>(data) + at, count, to);
      else
        read_elements(data, dtype, at, to, count);
      for (int64_t c = count; c < padded(); ++c) to[c] = T(0);
    }
  }
  void write_pieces(const T* from, int64_t n, int64_t at) const {
    for (int64_t t = 0; t < n; ++t, at += width, from += padded()) {
      if (stored_as<T>(dtype))
        copy_piece(from, count, static_cast<T*>(data) + at);
      else
        write_elements(data, dtype, at, from, count);
    }
  }
  // A piece is often a few numbers, for which a call of memcpy would cost more than the copy.
  static LITE_RTSE_INLINE void copy_piece(const T* from, int64_t n, T* to) {
    int64_t i = 0;
    for (; i + kMultiple <= n; i += kMultiple) std::memcpy(to + i, from + i, kMultiple * sizeof(T));
    for (; i < n; ++i) to[i] = from[i];
  }
};
