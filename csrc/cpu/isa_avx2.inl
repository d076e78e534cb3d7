// Compiles LITE_RTSE_BODY for AVX2 and FMA.
// Include this file after all other headers that the body uses.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define LITE_RTSE_BUILD avx2
#define LITE_RTSE_BUILD_NAME "avx2"
#define LITE_RTSE_VECTOR_BYTES 32
#define LITE_RTSE_REGISTERS 16
#include LITE_RTSE_BODY

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
