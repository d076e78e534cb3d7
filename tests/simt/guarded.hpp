// Device memory with forbidden zones around it.
#pragma once

#include <string>
#include <vector>

#include "request.hpp"

namespace simt {

class GuardedBuffer {
 public:
  // `shift` bytes behind an address that a device's allocator could give. Without `real` memory it only has an address.
  GuardedBuffer(const Buffer&, int64_t shift, bool real);
  ~GuardedBuffer();
  GuardedBuffer(GuardedBuffer&&) = default;

  void* data() const { return data_; }
  // What was done to it that must not be; an empty text if nothing.
  std::string check();
  // Gives the results back.
  void copy_out();

 private:
  Buffer buffer_;
  std::vector<unsigned char> memory_;
  unsigned char* data_ = nullptr;
};

}  // namespace simt
