// What the C library would ask of the system. A browser has no environment and no standard error.
// The module therefore imports nothing. Where the C library would end the program with a text, the module traps.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

// Writes as snprintf does: as much as there is room for, and counts all.
class Text {
 public:
  Text(char* to, size_t room) : to_(to), room_(room) {}
  void put(std::string_view part) {
    for (char c : part) {
      if (size_ + 1 < room_) to_[size_] = c;
      ++size_;
    }
  }
  void put(uint64_t number, int digits = 1) {
    char text[20], *first = text + sizeof text;
    for (; number > 0 || digits > 0; number /= 10, --digits) *--first = char('0' + number % 10);
    put(std::string_view(first, size_t(text + sizeof text - first)));
  }
  // With six decimals, rounded.
  void put(double number) {
    constexpr double kDecimals = 1e6, kMost = 1e12;
    if (std::signbit(number)) put("-");
    if (!(std::fabs(number) < kMost))
      return put(std::isnan(number) ? "nan" : std::isinf(number) ? "inf" : "1e12 or more");
    const auto parts = uint64_t(std::fabs(number) * kDecimals + 0.5);
    put(parts / uint64_t(kDecimals)), put("."), put(parts % uint64_t(kDecimals), 6);
  }
  int end() {
    if (room_ > 0) to_[std::min(size_, room_ - 1)] = 0;
    return int(size_);
  }

 private:
  char* to_;
  size_t room_, size_ = 0;
};

}  // namespace

extern "C" {
char* getenv(const char*) { return nullptr; }
void abort() { __builtin_trap(); }
[[noreturn]] void __abort_message(const char*, ...) { __builtin_trap(); }

// For %zu and %f, which the engine's messages use. That of the C library takes a tenth of the module.
int snprintf(char* to, size_t room, const char* format, ...) {
  Text text(to, room);
  va_list values;
  va_start(values, format);
  for (std::string_view rest = format; !rest.empty();) {
    const size_t plain = std::min(rest.find('%'), rest.size());
    text.put(rest.substr(0, plain));
    rest.remove_prefix(plain);
    if (rest.empty()) break;
    const bool size = rest.starts_with("%zu");
    if (!size && !rest.starts_with("%f")) __builtin_trap();
    size ? text.put(uint64_t(va_arg(values, size_t))) : text.put(va_arg(values, double));
    rest.remove_prefix(size ? 3 : 2);
  }
  va_end(values);
  return text.end();
}
}

namespace std::inline __1 {  // libc++'s
[[noreturn]] void __libcpp_verbose_abort(const char*, ...) noexcept;
void __libcpp_verbose_abort(const char*, ...) noexcept { __builtin_trap(); }
}  // namespace std::inline __1
