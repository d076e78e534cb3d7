// Compiles LITE_RTSE_BODY for what every processor of the architecture can do:
// SSE2 on x86-64, Advanced SIMD on aarch64.
// It comes after all that the body uses of other headers.
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
