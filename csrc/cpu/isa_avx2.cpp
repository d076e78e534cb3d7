// The kernels for AVX2 and FMA.
#include "prelude.h"

#define LITE_RTSE_BODY "build.inl"
#include "isa_avx2.inl"
