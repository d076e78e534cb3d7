// The kernels for AVX-512.
#include "prelude.h"

#define LITE_RTSE_BODY "build.inl"
#include "isa_avx512.inl"
