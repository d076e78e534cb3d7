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
