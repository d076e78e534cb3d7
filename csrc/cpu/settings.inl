// Tuning constants of the code that is compiled once for each instruction set.

#define LITE_RTSE_INLINE inline __attribute__((always_inline))

// Put this before a loop whose rows do not overlap and are too many for the compiler's own overlap check. The loop then
// vectorizes.
#if defined(__clang__)
#define LITE_RTSE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define LITE_RTSE_INDEPENDENT _Pragma("GCC ivdep")
#endif

constexpr int kVectorBytes = LITE_RTSE_VECTOR_BYTES;
constexpr bool kManyRegisters = LITE_RTSE_REGISTERS >= 32;
// Register tiles; see depthwise.inl and pointwise.inl. docs/performance/log.md has the measurements behind the numbers.
constexpr int kTile = 16;                                  // bins of a depthwise tile
constexpr int kRest = 4;                                   // bins of a tile for the remainder of a row
constexpr int kPointSums = kVectorBytes == 64 ? 24 : 12;   // sums of a tile of a 1x1 convolution
constexpr int kPointBlocks = kVectorBytes == 64 ? 4 : 2;   // the most vectors that a 1x1 convolution's tile is wide
constexpr int kGradientChannels = kManyRegisters ? 8 : 4;  // channels of a weight gradient's tile, two vectors wide
constexpr int64_t kChunk = 8;                              // frames between two steps of a march over time
