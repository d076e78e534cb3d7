// The standard library headers that the kernels use. Include this header before a file sets the compiler's target. The
// library's inline functions are then always compiled for the baseline.
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

// The same function under the name that glibc before 2.29 has, too; see older_systems.cpp.
#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver exp, exp@GLIBC_2.2.5");
#endif
