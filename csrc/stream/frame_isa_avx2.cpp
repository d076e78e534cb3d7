// The one-frame network for AVX2 and FMA.
#include "frame_prelude.h"

#define LITE_RTSE_BODY "../stream/frame_build.inl"
#include "../cpu/isa_avx2.inl"
