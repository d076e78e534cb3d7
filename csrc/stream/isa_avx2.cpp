// The one-frame network for AVX2 and FMA.
#include "prelude.h"

#define LITE_RTSE_BODY "../stream/build.inl"
#include "../cpu/isa_avx2.cpp"
