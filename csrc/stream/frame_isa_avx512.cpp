// The one-frame network for AVX-512.
#include "frame_prelude.h"

#define LITE_RTSE_BODY "../stream/frame_build.inl"
#include "../cpu/isa_avx512.inl"
