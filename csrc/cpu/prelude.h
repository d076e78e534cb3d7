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
