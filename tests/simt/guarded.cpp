#include "guarded.hpp"

#include <algorithm>
#include <cstring>

#include "fiber.hpp"

namespace simt {
namespace {

constexpr int64_t kAlignment = 256, kZone = 512;
constexpr unsigned char kPoison = 0xff;  // NaN in any floating type, whatever the alignment

// Addresses without memory, far from one another and from anything else.
unsigned char* pretended_address() {
  static uintptr_t next = uintptr_t(1) << 60;
  return reinterpret_cast<unsigned char*>(next += uintptr_t(1) << 44);
}

}  // namespace

GuardedBuffer::GuardedBuffer(const Buffer& buffer, int64_t shift, bool real) : buffer_(buffer) {
  if (buffer.kind == Kind::absent) return;
  if (!real) {
    data_ = pretended_address() + shift;
    return;
  }
  memory_.assign(size_t(kAlignment + kZone + shift + buffer.bytes + kZone), kPoison);
  const auto misaligned = int64_t(reinterpret_cast<uintptr_t>(memory_.data()) % kAlignment);
  data_ = memory_.data() + (kAlignment - misaligned) + kZone + shift;
  if (buffer.kind == Kind::input && buffer.bytes) std::memcpy(data_, buffer.data, size_t(buffer.bytes));
  asan_forbid(memory_.data(), size_t(data_ - memory_.data()));
  asan_forbid(data_ + buffer.bytes, size_t(memory_.data() + memory_.size() - (data_ + buffer.bytes)));
}

GuardedBuffer::~GuardedBuffer() {
  if (!memory_.empty()) asan_allow(memory_.data(), memory_.size());
}

std::string GuardedBuffer::check() {
  if (memory_.empty()) return "";
  asan_allow(memory_.data(), memory_.size());
  const unsigned char *begin = memory_.data(), *end = begin + memory_.size(), *data_end = data_ + buffer_.bytes;
  const auto poisoned = [](unsigned char byte) { return byte == kPoison; };
  const std::string name = buffer_.name;
  if (!std::all_of(begin, static_cast<const unsigned char*>(data_), poisoned)) return "write in front of " + name;
  if (!std::all_of(data_end, end, poisoned)) return "write behind " + name;
  if (buffer_.kind == Kind::input && buffer_.bytes && std::memcmp(data_, buffer_.data, size_t(buffer_.bytes)))
    return "the input " + name + " was written to";
  return "";
}

void GuardedBuffer::copy_out() {
  if (buffer_.kind == Kind::output && buffer_.data && buffer_.bytes)
    std::memcpy(buffer_.data, data_, size_t(buffer_.bytes));
}

}  // namespace simt
