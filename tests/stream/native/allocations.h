// Counts what the whole program allocates: every way to malloc and free, operator new among them.
#pragma once

#include <cstdint>

// How many calls there were so far; -1 where a build (a sanitizer's, which has its own malloc) can't count.
int64_t allocations();
