// The product of matrices by a whole warp. Internal to the emulator.
#pragma once

#include <cstdint>

namespace simt {

// A lane's registers: see mma.cpp.
struct Fragments {
  float* d;
  const uint32_t *a, *b;
};

// D += A B, where each of 32 lanes has its part of the matrices.
void multiply(const Fragments* const (&lanes)[32], bool bfloat16);

}  // namespace simt
