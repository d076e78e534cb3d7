// Memory in large pages, where the system has them. What a frame reads, 10 MB, is 2,500 small pages: more than the
// processor keeps the addresses of, so that it looks up most of them anew every frame.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lite_rtse::stream {

struct PagesFree {
  void operator()(void* p) const { std::free(p); }
};
using Pages = std::unique_ptr<unsigned char, PagesFree>;

// At least n bytes, aligned, contents unspecified.
inline Pages pages(std::size_t n) {
  constexpr std::size_t kLarge = std::size_t(2) << 20;
  const std::size_t rounded = (n + kLarge - 1) / kLarge * kLarge;
  Pages p(static_cast<unsigned char*>(std::aligned_alloc(kLarge, rounded)));
  if (!p) throw std::bad_alloc();
#if defined(__linux__)
  madvise(p.get(), rounded, MADV_HUGEPAGE);  // a wish: where it is not granted, nothing else changes
#endif
  return p;
}

}  // namespace lite_rtse::stream
