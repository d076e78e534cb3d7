// What the code that is compiled once for each instruction set is tuned by.

#define LITE_RTSE_INLINE inline __attribute__((always_inline))

// Before a loop whose rows do not overlap: more of them than the compiler would check by itself before it vectorises.
#if defined(__clang__)
#define LITE_RTSE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define LITE_RTSE_INDEPENDENT _Pragma("GCC ivdep")
#endif

constexpr int kVectorBytes = LITE_RTSE_VECTOR_BYTES;
constexpr bool kManyRegisters = LITE_RTSE_REGISTERS >= 32;
// Register tiles, see depthwise.inl and pointwise.inl; docs/performance/log.md has the measurements behind the numbers.
constexpr int kTile = 16;                                  // bins of a depthwise tile
constexpr int kRest = 4;                                   // bins of one for what is left of a row
constexpr int kPoints = 6;                                 // points of a 1x1's tile two vectors wide
constexpr int kGradientChannels = kManyRegisters ? 8 : 4;  // channels of a 1x1 weight gradient's tile, two vectors wide
constexpr int64_t kChunk = 8;                              // frames between two steps of a march over time
