// One allocation for several arrays.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lite_rtse {

// Hands out consecutive pieces of one allocation. Each piece begins at a multiple of `Alignment` and has `Gap` bytes
// behind it. With a null base it only adds up the sizes. One layout function thus serves to measure and to place.
template <std::size_t Alignment, std::size_t Gap = 0>
class ArenaOf {
 public:
  explicit ArenaOf(void* base = nullptr) : base_(static_cast<unsigned char*>(base)) {}

  template <class T>
  T* take(int64_t count) {
    T* p = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + Alignment - 1) / Alignment * Alignment + Gap;
    return p;
  }
  std::size_t used() const { return used_; }

 private:
  unsigned char* base_;
  std::size_t used_ = 0;
};

}  // namespace lite_rtse
