// Counts what the whole program allocates: every way to malloc and free, operator new among them. Also for C.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// How many calls there were so far; -1 where a build (a sanitizer's, which has its own malloc) can't count.
int64_t allocations(void);

#ifdef __cplusplus
}
#endif
