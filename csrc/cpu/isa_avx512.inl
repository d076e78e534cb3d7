// Compiles LITE_RTSE_BODY for AVX-512.
// Include this file after all other headers that the body uses.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")
#endif

#define LITE_RTSE_BUILD avx512
#define LITE_RTSE_BUILD_NAME "avx512"
#define LITE_RTSE_VECTOR_BYTES 64
#define LITE_RTSE_REGISTERS 32
#include LITE_RTSE_BODY

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
