// Built without -fsanitize: it writes over all of the library's thread-local storage.
#include "shared_memory.hpp"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "fiber.hpp"
#include "simt.hpp"

namespace simt {
namespace {

constexpr unsigned char kPoison = 0xff;
constexpr size_t kGuardBytes = 512;  // behind dynamic shared memory, for builds without AddressSanitizer

std::vector<void* (*)()>& dynamic_arrays() {
  static auto* arrays = new std::vector<void* (*)()>;  // filled before main, never freed
  return *arrays;
}

thread_local char anchor;  // being there, it has this library's thread-local storage set up for the current thread

struct Storage {
  const void* in_library;
  unsigned char* begin;
  size_t bytes;
};

int find_storage(dl_phdr_info* library, size_t, void* result) {
  auto* storage = static_cast<Storage*>(result);
  const auto wanted = reinterpret_cast<uintptr_t>(storage->in_library);
  bool found = false;
  size_t bytes = 0;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const auto& segment = library->dlpi_phdr[i];
    const uintptr_t begin = library->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && wanted >= begin && wanted < begin + segment.p_memsz) found = true;
    if (segment.p_type == PT_TLS) bytes = segment.p_memsz;
  }
  if (!found) return 0;
  storage->begin = static_cast<unsigned char*>(library->dlpi_tls_data);
  storage->bytes = bytes;
  return 1;
}

// Fills [begin, end) except for the dynamic arrays, which are large and mostly unused.
void poison_static(unsigned char* begin, unsigned char* end) {
  std::vector<unsigned char*> dynamic;
  for (auto address : dynamic_arrays()) dynamic.push_back(static_cast<unsigned char*>(address()));
  std::sort(dynamic.begin(), dynamic.end());
  for (unsigned char* array : dynamic) {
    std::memset(begin, kPoison, size_t(array - begin));
    begin = array + kDynamicSharedCapacity;
  }
  std::memset(begin, kPoison, size_t(end - begin));
}

bool all_poisoned(const unsigned char* begin, size_t bytes) {
  return std::all_of(begin, begin + bytes, [](unsigned char byte) { return byte == kPoison; });
}

size_t guard_bytes(size_t dynamic_bytes) { return std::min(kGuardBytes, kDynamicSharedCapacity - dynamic_bytes); }

}  // namespace

bool register_dynamic_shared(void* (*address)()) {
  if (dynamic_arrays().size() == SharedMemory::kMostArrays) throw std::length_error("too many dynamic shared arrays");
  dynamic_arrays().push_back(address);
  return true;
}

SharedMemory reset_shared_memory(size_t dynamic_bytes) {
  *static_cast<volatile char*>(&anchor) = 0;
  static const int in_library = 0;
  Storage storage{&in_library, nullptr, 0};
  dl_iterate_phdr(find_storage, &storage);
  poison_static(storage.begin, storage.begin + storage.bytes);
  SharedMemory memory{storage.begin, storage.bytes};
  size_t count = 0;
  for (auto address : dynamic_arrays()) {
    auto* array = static_cast<unsigned char*>(address());
    asan_allow(array, kDynamicSharedCapacity);
    std::memset(array, kPoison, dynamic_bytes + guard_bytes(dynamic_bytes));
    asan_forbid(array + dynamic_bytes, kDynamicSharedCapacity - dynamic_bytes);
    memory.dynamic[count++] = array;
  }
  return memory;
}

bool dynamic_shared_bound_held(size_t dynamic_bytes) {
  for (auto address : dynamic_arrays()) {
    const auto* end = static_cast<const unsigned char*>(address()) + dynamic_bytes;
    if (!all_poisoned(end, guard_bytes(dynamic_bytes))) return false;
  }
  return true;
}

void seal(const SharedMemory& memory, size_t dynamic_bytes) {
  for (unsigned char* array : memory.dynamic) {
    if (!array) return;
    // Word by word: ThreadSanitizer sees what memset writes.
    auto* const words = reinterpret_cast<volatile uint64_t*>(array);
    for (size_t i = 0; i * sizeof(uint64_t) < dynamic_bytes; ++i) words[i] = ~uint64_t(0);
    asan_forbid(array, dynamic_bytes);
  }
}

bool seal_held(const SharedMemory& memory, size_t dynamic_bytes) {
  return std::all_of(memory.dynamic.begin(), memory.dynamic.end(),
                     [=](const unsigned char* array) { return !array || all_poisoned(array, dynamic_bytes); });
}

}  // namespace simt
