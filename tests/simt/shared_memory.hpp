// Shared memory: the thread-local variables of the library that holds both the kernels and this emulator.
#pragma once

#include <array>
#include <cstddef>

namespace simt {

// Of the thread of the host that runs a block. It allocates nothing, since ThreadSanitizer would see that.
struct SharedMemory {
  static constexpr size_t kMostArrays = 8;
  unsigned char* begin = nullptr;
  size_t bytes = 0;
  std::array<unsigned char*, kMostArrays> dynamic{};  // the arrays that kernels declare, and then nulls
};

// Before a block runs: every byte 0xff, NaN in any floating type and -1 in any integer. Dynamic shared memory ends
// after `dynamic_bytes`; what follows is out of bounds.
SharedMemory reset_shared_memory(size_t dynamic_bytes);
// After it: false if the block wrote behind its dynamic shared memory.
bool dynamic_shared_bound_held(size_t dynamic_bytes);
// Of a block that has exited and whose cluster goes on: nothing may touch its dynamic shared memory from now on.
void seal(const SharedMemory&, size_t dynamic_bytes);
// False if something has written there since.
bool seal_held(const SharedMemory&, size_t dynamic_bytes);

}  // namespace simt
