// Subnormal numbers, read and written as zero.
#pragma once

#include <cstdint>

namespace lite_rtse::stream {

// While an object of this class exists, subnormal numbers are read and written as zero. Arithmetic on subnormal numbers
// takes a hundred times as long. A signal that fades to silence fills every state of the network with them.
class FlushSubnormals {
 public:
#if defined(__x86_64__)
  FlushSubnormals() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | kFlushResults | kZeroInputs);
  }
  ~FlushSubnormals() { __builtin_ia32_ldmxcsr(before_); }

 private:
  static constexpr unsigned kFlushResults = 0x8000, kZeroInputs = 0x0040;
  const unsigned before_;
#elif defined(__aarch64__)
  FlushSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | kFlushBoth));
  }
  ~FlushSubnormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  static constexpr uint64_t kFlushBoth = uint64_t(1) << 24;
  uint64_t before_;
#else
 public:
  FlushSubnormals() {}
  ~FlushSubnormals() {}
#endif
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;
};

}  // namespace lite_rtse::stream
