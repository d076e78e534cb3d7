// The one-frame network for what every processor of the architecture can do.
#include "prelude.h"

#define LITE_RTSE_BODY "../stream/build.inl"
#include "../cpu/isa_baseline.cpp"
