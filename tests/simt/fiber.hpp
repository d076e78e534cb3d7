// Fibers: stacks that one thread of the host switches between, known as such to the sanitizers.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) || defined(SIMT_UCONTEXT)
#define SIMT_USE_UCONTEXT 1
#include <ucontext.h>
#endif

namespace simt {

class Fiber {
 public:
  // The stack the program is on when it first switches away.
  void adopt_current();
  // Gets ready to call `entry`, which must never return, at the next switch to this fiber. `number` staggers the stacks
  // so that equal frames of different fibers do not fall into the same cache sets.
  void prepare(void (*entry)(), unsigned number);
  // Leaves this fiber for another. With `for_good` it will not be resumed.
  void switch_to(Fiber& next, bool for_good = false);
  // To be called first in `entry`: this fiber was reached from `previous`, a fiber that adopted its stack.
  static void entered_from(Fiber& previous);

 private:
  size_t stack_size();

#ifdef SIMT_USE_UCONTEXT
  ucontext_t context_{};
#else
  void* stack_pointer_ = nullptr;
#endif
  char* stack_ = nullptr;
  const void* stack_bottom_ = nullptr;
  size_t stack_bytes_ = 0;
  void* asan_fake_stack_ = nullptr;
  void* tsan_fiber_ = nullptr;
};

// The sanitizers' hooks; nothing where the program runs without them.
bool under_tsan();
void tsan_release(void* object);
void tsan_acquire(void* object);
void asan_forbid(const void* begin, size_t bytes);
void asan_allow(const void* begin, size_t bytes);

}  // namespace simt
