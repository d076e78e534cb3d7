// Built without -fsanitize: it changes stacks under the sanitizers' feet and tells them so.
#include "fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <stdexcept>

extern "C" {
#define SIMT_WEAK __attribute__((weak))  // null unless the program was started with that sanitizer
SIMT_WEAK void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, size_t size);
SIMT_WEAK void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, size_t* size_old);
SIMT_WEAK void __asan_poison_memory_region(const volatile void*, size_t);
SIMT_WEAK void __asan_unpoison_memory_region(const volatile void*, size_t);
SIMT_WEAK void* __tsan_create_fiber(unsigned flags);
SIMT_WEAK void* __tsan_get_current_fiber();
SIMT_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
SIMT_WEAK void __tsan_acquire(void*);
SIMT_WEAK void __tsan_release(void*);

#ifndef SIMT_USE_UCONTEXT
// Saves the registers that a call preserves on the current stack, its pointer in *save, and resumes what `resume`
// saved.
void simt_switch_stacks(void** save, void* resume);
asm(R"(
.text
.globl simt_switch_stacks
.hidden simt_switch_stacks
.type simt_switch_stacks, @function
simt_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch_stacks, . - simt_switch_stacks
)");
#endif
}

namespace simt {
namespace {

constexpr size_t kPage = 4096;
constexpr unsigned kNoHappensBefore = 1;  // for __tsan_switch_to_fiber: only barriers order what threads do

// One inaccessible page below, so that an overflow is a fault and not a corruption.
char* allocate_stack(size_t bytes) {
  void* base = mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::runtime_error("no memory for the stacks of the emulated threads");
  mprotect(base, kPage, PROT_NONE);
  return static_cast<char*>(base) + kPage;
}

}  // namespace

bool under_tsan() { return __tsan_create_fiber != nullptr; }
void tsan_release(void* object) {
  if (__tsan_release) __tsan_release(object);
}
void tsan_acquire(void* object) {
  if (__tsan_acquire) __tsan_acquire(object);
}
void asan_forbid(const void* begin, size_t bytes) {
  if (__asan_poison_memory_region) __asan_poison_memory_region(begin, bytes);
}
void asan_allow(const void* begin, size_t bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(begin, bytes);
}

size_t Fiber::stack_size() {
  const bool sanitized = __sanitizer_start_switch_fiber || under_tsan();
  return sanitized ? 256 << 10 : 64 << 10;  // sanitizers widen the frames
}

void Fiber::adopt_current() {
  if (__tsan_get_current_fiber) tsan_fiber_ = __tsan_get_current_fiber();
}

void Fiber::prepare(void (*entry)(), unsigned number) {
  if (!stack_) {
    stack_bytes_ = stack_size();
    stack_ = allocate_stack(stack_bytes_);
    stack_bottom_ = stack_;
    if (under_tsan()) tsan_fiber_ = __tsan_create_fiber(0);  // about a millisecond: kept for the next block
  }
  asan_allow(stack_, stack_bytes_);
  asan_fake_stack_ = nullptr;
#ifdef SIMT_USE_UCONTEXT
  static_cast<void>(number);
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_bytes_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#else
  constexpr unsigned kStagger = 61, kLine = 64, kSavedRegisters = 6;
  auto* top = reinterpret_cast<void**>(stack_ + stack_bytes_ - number % kStagger * kLine);
  *--top = nullptr;  // where `entry` would return to; it also aligns its frame
  *--top = reinterpret_cast<void*>(entry);
  for (unsigned i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  stack_pointer_ = top;
#endif
}

void Fiber::switch_to(Fiber& next, bool for_good) {
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &asan_fake_stack_, next.stack_bottom_, next.stack_bytes_);
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(next.tsan_fiber_, kNoHappensBefore);
#ifdef SIMT_USE_UCONTEXT
  swapcontext(&context_, &next.context_);
#else
  simt_switch_stacks(&stack_pointer_, next.stack_pointer_);
#endif
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(asan_fake_stack_, nullptr, nullptr);
}

void Fiber::entered_from(Fiber& previous) {
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(nullptr, &previous.stack_bottom_, &previous.stack_bytes_);
}

}  // namespace simt
