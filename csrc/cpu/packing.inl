// Converts parameters between their own layout and the kernels' packed layout, in which a vector holds kLanes target
// channels.

// The channels of one lane block: lane l is channel first + l for l < count; the other lanes are idle.
struct LaneBlock {
  int64_t first, count;
};

// Lane blocks for `channels` consecutive channels from `first` on.
template <class T>
std::vector<LaneBlock> lane_blocks(int64_t channels, int64_t first = 0) {
  std::vector<LaneBlock> blocks;
  for (int64_t c = 0; c < channels; c += kLanes<T>)
    blocks.push_back({first + c, std::min<int64_t>(kLanes<T>, channels - c)});
  return blocks;
}

// A parameter as T; zeros if it is absent.
template <class T>
Buffer<T> read_parameter(const void* data, DType dtype, int64_t n) {
  Buffer<T> values(n);
  if (data) read_elements(data, dtype, 0, values.data(), n);
  return values;
}
template <class T>
void write_parameter(void* data, DType dtype, const Buffer<T>& values) {
  if (data) write_elements(data, dtype, 0, values.data(), values.size());
}

// (channels, 1, kh, kw) -> (taps, lanes) for one block; idle lanes are zero.
template <class T>
void pack_depthwise(const T* weight, int64_t taps, LaneBlock block, T* packed) {
  std::fill_n(packed, taps * kLanes<T>, T(0));
  for (int64_t l = 0; l < block.count; ++l)
    for (int64_t i = 0; i < taps; ++i) packed[i * kLanes<T> + l] = weight[(block.first + l) * taps + i];
}
template <class T>
void unpack_depthwise(const T* packed, int64_t taps, LaneBlock block, T* weight) {
  for (int64_t l = 0; l < block.count; ++l)
    for (int64_t i = 0; i < taps; ++i) weight[(block.first + l) * taps + i] = packed[i * kLanes<T> + l];
}
template <class T>
void pack_vector(const T* values, LaneBlock block, T* packed) {
  pack_depthwise(values, 1, block, packed);
}
template <class T>
void unpack_vector(const T* packed, LaneBlock block, T* values) {
  unpack_depthwise(packed, 1, block, values);
}

// The (targets, sources) weight of a 1x1 convolution and its bias, for the target channels in `blocks`; idle lanes are
// zero.
template <class T>
void pack_pointwise(const T* weight, const T* bias, int64_t sources, const std::vector<LaneBlock>& blocks, T* packed) {
  const Pointwise<T> shape{sources, int64_t(blocks.size())};
  std::fill_n(packed, shape.size(), T(0));
  for (int64_t b = 0; b < shape.blocks; ++b) {
    for (int64_t l = 0; l < blocks[b].count; ++l)
      for (int64_t c = 0; c < sources; ++c)
        packed[b * shape.block() + c * kLanes<T> + l] = weight[(blocks[b].first + l) * sources + c];
    pack_vector(bias, blocks[b], packed + shape.bias() + b * kLanes<T>);
  }
}
template <class T>
void unpack_pointwise(const T* packed, int64_t sources, const std::vector<LaneBlock>& blocks, T* weight, T* bias) {
  const Pointwise<T> shape{sources, int64_t(blocks.size())};
  for (int64_t b = 0; b < shape.blocks; ++b) {
    for (int64_t l = 0; l < blocks[b].count; ++l)
      for (int64_t c = 0; c < sources; ++c)
        weight[(blocks[b].first + l) * sources + c] = packed[b * shape.block() + c * kLanes<T> + l];
    unpack_vector(packed + shape.bias() + b * kLanes<T>, blocks[b], bias);
  }
}

// The transposed product, for input gradients: from the target channels of the 1x1 convolution to its sources, without
// a bias.
template <class T>
void pack_pointwise_transposed(const T* weight, int64_t targets, int64_t sources, T* packed) {
  const std::vector<LaneBlock> blocks = lane_blocks<T>(sources);
  const Pointwise<T> shape{targets, int64_t(blocks.size())};
  std::fill_n(packed, shape.size(), T(0));
  for (int64_t b = 0; b < shape.blocks; ++b)
    for (int64_t l = 0; l < blocks[b].count; ++l)
      for (int64_t c = 0; c < targets; ++c)
        packed[b * shape.block() + c * kLanes<T> + l] = weight[c * sources + blocks[b].first + l];
}

// dst += src, elementwise.
template <class T>
void accumulate(const T* src, int64_t n, T* dst) {
  for (int64_t i = 0; i < n; ++i) dst[i] += src[i];
}
