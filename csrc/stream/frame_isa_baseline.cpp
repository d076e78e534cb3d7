// The one-frame network for the features of every processor of the architecture.
#include "frame_prelude.h"

#define LITE_RTSE_BODY "../stream/frame_build.inl"
#include "../cpu/isa_baseline.inl"
