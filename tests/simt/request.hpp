// A call of an operator as data: what ctypes or a file hands over, and what comes back. Mirrored in harness.py.
#pragma once

#include <cstdint>

#include "../../csrc/cuda/api.h"

namespace simt {

enum class Kind : int32_t {
  absent,  // a null pointer
  input,   // must be the same afterwards
  output,  // NaN beforehand
};

struct Buffer {
  const char* name;
  void* data;
  int64_t bytes;
  Kind kind;
};

struct Request {
  int32_t backward;
  int32_t dtype;
  lite_rtse::cuda::Device device;
  uint64_t seed;
  int32_t shift;    // bytes from an aligned address to the beginning of each buffer
  int32_t execute;  // 0: launches are checked and recorded, nothing runs and buffers need no memory
  int64_t sizes_count;
  const int64_t* sizes;
  int64_t buffers_count;
  const Buffer* buffers;
  int64_t workspace_bytes;  // result
};

struct LaunchRecord {
  char kernel[256];
  uint32_t grid[3], block[3];
  int64_t shared_bytes, static_shared_bytes, cluster;
};

}  // namespace simt
