// In place of the toolkit's header, where there is no toolkit.
#pragma once
#include "../../half.hpp"
