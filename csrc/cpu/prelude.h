// What the kernels use of the standard library. Included before a file sets the compiler's target, so that the
// library's inline functions are always the baseline's.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "api.h"
#include "memory.h"

// What an isa_*.cpp compiles. Another library that wants the same instruction sets names its own before it includes
// one.
#ifndef LITE_RTSE_BODY
#define LITE_RTSE_BODY "build.inl"
#endif
