// Compiles LITE_RTSE_BODY for the features of every processor of the architecture: SSE2 on x86-64, Advanced SIMD on
// aarch64.
// Include this file after all other headers that the body uses.
#if defined(__aarch64__)
#define LITE_RTSE_BUILD neon
#define LITE_RTSE_BUILD_NAME "neon"
#define LITE_RTSE_REGISTERS 32
#else
#define LITE_RTSE_BUILD baseline
#define LITE_RTSE_BUILD_NAME "baseline"
#define LITE_RTSE_REGISTERS 16
#endif
#define LITE_RTSE_VECTOR_BYTES 16
#include LITE_RTSE_BODY
