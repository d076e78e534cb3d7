// The kernels for what every processor of the architecture can do: SSE2 on x86-64, Advanced SIMD on aarch64.
#include "prelude.h"

#if defined(__aarch64__)
#define LITE_RTSE_BUILD neon
#define LITE_RTSE_BUILD_NAME "neon"
#else
#define LITE_RTSE_BUILD baseline
#define LITE_RTSE_BUILD_NAME "baseline"
#endif
#define LITE_RTSE_VECTOR_BYTES 16
#define LITE_RTSE_POINTS 6
#include "build.inl"
