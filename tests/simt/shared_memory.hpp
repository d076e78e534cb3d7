// Shared memory: the thread-local variables of the library that holds both the kernels and this emulator.
#pragma once

#include <cstddef>

namespace simt {

// Before a block runs: every byte 0xff, NaN in any floating type and -1 in any integer. Dynamic shared memory ends
// after `dynamic_bytes`; what follows is out of bounds.
void reset_shared_memory(size_t dynamic_bytes);
// After it: false if the block wrote behind its dynamic shared memory.
bool dynamic_shared_bound_held(size_t dynamic_bytes);

}  // namespace simt
