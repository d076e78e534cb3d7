// The one-frame network for AVX-512.
#include "prelude.h"

#define LITE_RTSE_BODY "../stream/build.inl"
#include "../cpu/isa_avx512.cpp"
