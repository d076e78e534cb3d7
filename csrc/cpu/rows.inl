// Moves features between the tensors' layout and the kernels' layout.
//
// Tensors are (batch, channels, frames, bins). The kernels use a channel-blocked layout: one vector holds kLanes
// channels. A *lane row* is one frame of one block of channels, (bins, lanes). A depthwise tap is then one multiply-add
// of two aligned vectors. Any number of bins fits without waste. A 1x1 convolution is a small matrix product.

// A stored (batch, channels, frames, bins) tensor that is read or written frame by frame.
template <class T>
struct Feature {
  void* data;
  DType dtype;
  int64_t channels, frames, bins;

  Feature(const void* data_, DType dtype_, int64_t channels_, int64_t frames_, int64_t bins_)
      : data(const_cast<void*>(data_)), dtype(dtype_), channels(channels_), frames(frames_), bins(bins_) {}

  int64_t offset(int64_t b, int64_t c, int64_t t) const { return ((b * channels + c) * frames + t) * bins; }
  // The scratch elements that `read` and `write_lanes` need for `count` channels: none if no conversion is needed.
  int64_t scratch(int64_t count) const { return stored_as<T>(dtype) ? 0 : count * bins; }

  // row[i] = frame t of channel first + i, as T. It is read in place if it is stored as T.
  void read(int64_t b, int64_t t, int64_t first, int64_t count, const T** row, T* scratch) const {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = offset(b, first + i, t);
      if (stored_as<T>(dtype)) {
        row[i] = static_cast<const T*>(data) + at;
      } else {
        read_elements(data, dtype, at, scratch + i * bins, bins);
        row[i] = scratch + i * bins;
      }
    }
  }
};

// The even (Odd = 0) or odd (Odd = 1) units of a, then those of b, in every piece of the vectors. A unit has Unit
// lanes, and a piece has Units units. Either is one instruction of a single cycle if a piece or a unit has 16 bytes.
template <class T, int Unit, int Units, int Odd, std::size_t... I>
LITE_RTSE_INLINE Vec<T> every_second(Vec<T> a, Vec<T> b, std::index_sequence<I...>) {
  constexpr auto from = [](int lane) {
    const int unit = lane / Unit % Units, piece = lane / (Unit * Units);
    const int within = (2 * unit + Odd) % Units * Unit + lane % Unit;
    return piece * Unit * Units + within + (2 * unit >= Units ? int(kLanes<T>) : 0);
  };
  return __builtin_shufflevector(a, b, from(int(I))...);
}

// Transposes, in registers, the square of the `Units` vectors first, first + apart, … in every piece. Each round moves
// the lowest bit of a unit's place to the top of its vector's number, and that number's lowest bit to the top of the
// place. After log2(Units) rounds the two are exchanged.
template <class T, int Unit, int Units>
LITE_RTSE_INLINE void transpose_units(Vec<T>* v, int first, int apart) {
  constexpr auto lanes = std::make_index_sequence<kLanes<T>>();
#pragma GCC unroll 4
  for (int round = 1; round < Units; round *= 2) {
    Vec<T> next[Units];
#pragma GCC unroll 8
    for (int i = 0; i < Units / 2; ++i) {
      const Vec<T> a = v[first + 2 * i * apart], b = v[first + (2 * i + 1) * apart];
      next[i] = every_second<T, Unit, Units, 0>(a, b, lanes);
      next[i + Units / 2] = every_second<T, Unit, Units, 1>(a, b, lanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < Units; ++i) v[first + i * apart] = next[i];
  }
}

// Transposes a kLanes × kLanes tile in registers: first inside the pieces of 16 bytes, then the pieces.
template <class T>
LITE_RTSE_INLINE void transpose(Vec<T>* v) {
  constexpr int L = int(kLanes<T>), kPiece = 16 / sizeof(T), kPieces = L / kPiece;
#pragma GCC unroll 4
  for (int i = 0; i < kPieces; ++i) transpose_units<T, 1, kPiece>(v, i * kPiece, 1);
#pragma GCC unroll 4
  for (int i = 0; i < kPiece; ++i) transpose_units<T, kPiece, kPieces>(v, i, kPiece);
}

// lane_row[f][l] = row[l][f] for l < count; the other lanes are zero. Lane rows begin `stride` numbers apart.
template <class T>
LITE_RTSE_INLINE void to_lanes_apart(const T* const* row, int64_t count, int64_t bins, T* lane_row, int64_t stride) {
  constexpr int64_t L = kLanes<T>;
  int64_t f = 0;
  for (; f + L <= bins; f += L) {
    Vec<T> v[L];
#pragma GCC unroll 16
    for (int64_t l = 0; l < L; ++l) v[l] = l < count ? load_unaligned(row[l] + f) : Vec<T>{};
    transpose<T>(v);
#pragma GCC unroll 16
    for (int64_t l = 0; l < L; ++l) store(lane_row + (f + l) * stride, v[l]);
  }
  for (; f < bins; ++f)
    for (int64_t l = 0; l < L; ++l) lane_row[f * stride + l] = l < count ? row[l][f] : T(0);
}
template <class T>
void to_lanes(const T* const* row, int64_t count, int64_t bins, T* lane_row) {
  to_lanes_apart(row, count, bins, lane_row, kLanes<T>);
}

// row[l][f] = lane_row[f][l] for l < count.
template <class T>
void from_lanes(const T* lane_row, int64_t count, int64_t bins, T* const* row) {
  constexpr int64_t L = kLanes<T>;
  int64_t f = 0;
  for (; f + L <= bins; f += L) {
    Vec<T> v[L];
#pragma GCC unroll 16
    for (int64_t l = 0; l < L; ++l) v[l] = load(lane_row + (f + l) * L);
    transpose<T>(v);
#pragma GCC unroll 16
    for (int64_t l = 0; l < L; ++l)
      if (l < count) store_unaligned(row[l] + f, v[l]);
  }
  for (; f < bins; ++f)
    for (int64_t l = 0; l < count; ++l) row[l][f] = lane_row[f * L + l];
}

// Writes the first `count` lanes of a lane row to the channels from `first` on, in frame t. Its scratch has
// Feature::scratch(count) elements.
template <class T>
void write_lanes(const Feature<T>& y, int64_t b, int64_t t, int64_t first, int64_t count, const T* lane_row,
                 T* scratch) {
  T* row[kLanes<T>] = {};
  const bool direct = stored_as<T>(y.dtype);
  for (int64_t l = 0; l < count; ++l)
    row[l] = direct ? static_cast<T*>(y.data) + y.offset(b, first + l, t) : scratch + l * y.bins;
  from_lanes(lane_row, count, y.bins, row);
  if (direct) return;
  for (int64_t l = 0; l < count; ++l) write_elements(y.data, y.dtype, y.offset(b, first + l, t), row[l], y.bins);
}

// out = a * b for lane rows; out may be one of the two.
template <class T>
void multiply(const T* a, const T* b, int64_t points, T* out) {
  for (int64_t i = 0; i < points * kLanes<T>; i += kLanes<T>) store(out + i, load(a + i) * load(b + i));
}

// sum += Σ_p row[p], over all points of a lane row.
template <class T>
void add_row_sum(const T* lane_row, int64_t points, T* sum) {
  constexpr int64_t L = kLanes<T>;
  Vec<T> s[4] = {};
  int64_t p = 0;
  for (; p + 4 <= points; p += 4)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) s[k] += load(lane_row + (p + k) * L);
  for (; p < points; ++p) s[0] += load(lane_row + p * L);
  add_to(sum, (s[0] + s[1]) + (s[2] + s[3]));
}

// Lane rows of consecutive frames in a circular store: frame t overwrites frame t - capacity. `pad` zero columns are on
// either side of the bins. Frames outside [0, frames) read as one shared row of zeros.
template <class T>
class Ring {
 public:
  Ring() = default;
  Ring(Arena& arena, int64_t capacity, int64_t frames, int64_t bins, int64_t pad)
      : Ring(arena, capacity, frames, bins, pad, capacity, 0, nullptr) {}
  // The first `lent` rows of every `period` rows are at `loan`, which several rings may share. The other rows belong to
  // the ring. `capacity` is one `period` or two, so that finding a row takes no division.
  Ring(Arena& arena, int64_t capacity, int64_t frames, int64_t bins, int64_t pad, int64_t period, int64_t lent, T* loan)
      : capacity_(capacity), period_(period), lent_(lent), frames_(frames), bins_(bins), pad_(pad),
        stride_(row_size(bins, pad)), loan_(loan), own_(arena.take<T>(capacity / period * (period - lent) * stride_)) {}

  static constexpr int64_t row_size(int64_t bins, int64_t pad) { return (bins + 2 * pad) * kLanes<T>; }

  // Clears the padding once. Rows that are written later only touch the bins.
  void clear_padding() {
    for (int64_t i = 0; i < capacity_; ++i) {
      T* row = at(i);
      std::fill_n(row, pad_ * kLanes<T>, T(0));
      std::fill_n(row + (pad_ + bins_) * kLanes<T>, pad_ * kLanes<T>, T(0));
    }
  }

  // Column 0 of frame t, for writing.
  T* row(int64_t t) const { return at(t % capacity_) + pad_ * kLanes<T>; }
  // The first padding column of frame t, for reading; `zeros` if t is outside the utterance.
  const T* padded(int64_t t, const T* zeros) const { return t < 0 || t >= frames_ ? zeros : at(t % capacity_); }

 private:
  T* at(int64_t i) const {
    const bool second = i >= period_;
    const int64_t within = second ? i - period_ : i;
    if (within < lent_) return loan_ + within * stride_;
    return own_ + (second ? i - 2 * lent_ : i - lent_) * stride_;
  }

  int64_t capacity_ = 0, period_ = 1, lent_ = 0, frames_ = 0, bins_ = 0, pad_ = 0, stride_ = 0;
  T *loan_ = nullptr, *own_ = nullptr;
};

// `count` lane rows of `size` elements, one after another from `base` on.
template <class T>
std::vector<T*> row_table(T* base, int64_t count, int64_t size) {
  std::vector<T*> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = base + i * size;
  return rows;
}
