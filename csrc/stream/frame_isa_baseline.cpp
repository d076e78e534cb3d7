// The one-frame network for what every processor of the architecture can do.
#include "frame_prelude.h"

#define LITE_RTSE_BODY "../stream/frame_build.inl"
#include "../cpu/isa_baseline.inl"
