// The kernels for the features of every processor of the architecture: SSE2 on x86-64, Advanced SIMD on aarch64.
#include "prelude.h"

#define LITE_RTSE_BODY "build.inl"
#include "isa_baseline.inl"
