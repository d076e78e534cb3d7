// Aligned memory for packed weights, partial sums and scratch. Include this header before a file sets the compiler's
// target. Its functions are then always compiled for the baseline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "../arena.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lite_rtse {

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector
#ifdef LITE_RTSE_POISON
inline constexpr std::size_t kGap = 64;  // tests: a read beyond the end of a piece gives NaN instead of its neighbor
#else
inline constexpr std::size_t kGap = 0;
#endif

// The system refused to give memory.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory() noexcept { std::snprintf(text_, sizeof text_, "can't allocate memory"); }
  explicit OutOfMemory(std::size_t bytes) noexcept {
    std::snprintf(text_, sizeof text_, "can't allocate memory: you tried to allocate %zu bytes", bytes);
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[96];
};

// At least n bytes. Throws OutOfMemory, which states the number of bytes.
inline void* allocate(std::size_t n, std::align_val_t alignment) {
  void* const p = ::operator new(n, alignment, std::nothrow);
  if (!p) throw OutOfMemory(n);
  return p;
}

struct AlignedFree {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t(kAlignment)); }
};
using AlignedBytes = std::unique_ptr<unsigned char, AlignedFree>;

inline AlignedBytes aligned_bytes(std::size_t n) {
  return AlignedBytes(static_cast<unsigned char*>(allocate(n, std::align_val_t(kAlignment))));
}

#if defined(__linux__)
inline constexpr std::size_t kHugePage = std::size_t(2) << 20;
#else
inline constexpr std::size_t kHugePage = kAlignment;  // no system call asks for huge pages
#endif

struct HugeFree {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t(kHugePage)); }
};
using HugeBytes = std::unique_ptr<unsigned char, HugeFree>;

// At least n bytes in whole huge pages, if the system gives huge pages on request. The contents are unspecified. With
// pages of 4 KB the processor's address cache (TLB) is too small: the march over time walks rows that lie 16 KB apart,
// and a frame of a stream reads 10 MB.
inline HugeBytes huge_bytes(std::size_t n) {
  n = (n + kHugePage - 1) / kHugePage * kHugePage;
  HugeBytes bytes(static_cast<unsigned char*>(allocate(n, std::align_val_t(kHugePage))));
#if defined(__linux__)
  static_cast<void>(madvise(bytes.get(), n, MADV_HUGEPAGE));  // advice: if it is refused, pages are ordinary
#endif
  return bytes;
}

// This thread's scratch memory: at least n bytes, in huge pages where the system has them. The contents are
// unspecified. The memory is kept from call to call, because each fresh page costs a page fault. It only grows. The
// pointer is valid until the same thread calls this function again.
void* thread_scratch(std::size_t n);

// Frees this thread's scratch memory if it has grown beyond what ordinary shapes need (64 MiB).
void trim_thread_scratch();

using Arena = ArenaOf<kAlignment, kGap>;

// An owned, zeroed array of T whose length is fixed at construction.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) : bytes_(aligned_bytes(sizeof(T) * count)), count_(count) { zero(); }
  T* data() const { return reinterpret_cast<T*>(bytes_.get()); }
  T& operator[](int64_t i) const { return data()[i]; }
  int64_t size() const { return count_; }
  void zero() { std::memset(static_cast<void*>(bytes_.get()), 0, sizeof(T) * count_); }

 private:
  AlignedBytes bytes_;
  int64_t count_ = 0;
};

}  // namespace lite_rtse
