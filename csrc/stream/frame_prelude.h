// The standard library headers that the one-frame network uses; see cpu/prelude.h.
#pragma once

#include <optional>

#include "../cpu/prelude.h"
#include "network.h"
