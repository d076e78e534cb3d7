// What the one-frame network uses of the standard library; see cpu/prelude.h.
#pragma once

#include <optional>

#include "../cpu/prelude.h"
#include "network.h"
