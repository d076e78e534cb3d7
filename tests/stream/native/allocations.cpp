#include "allocations.h"

#include <atomic>
#include <cstddef>

#if defined(LITE_RTSE_COUNT_ALLOCATIONS)
#include <cerrno>

namespace {
std::atomic<int64_t> calls{0};
}

// glibc's own, under the names that nothing replaces.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t n) { return ++calls, __libc_malloc(n); }
void* calloc(std::size_t n, std::size_t size) { return ++calls, __libc_calloc(n, size); }
void* realloc(void* p, std::size_t n) { return ++calls, __libc_realloc(p, n); }
void* memalign(std::size_t alignment, std::size_t n) { return ++calls, __libc_memalign(alignment, n); }
void* aligned_alloc(std::size_t alignment, std::size_t n) { return ++calls, __libc_memalign(alignment, n); }
int posix_memalign(void** p, std::size_t alignment, std::size_t n) {
  ++calls;
  *p = __libc_memalign(alignment, n);
  return *p ? 0 : ENOMEM;
}
void free(void* p) {
  ++calls;
  __libc_free(p);
}
}

int64_t allocations() { return calls; }
#else
int64_t allocations() { return -1; }
#endif
