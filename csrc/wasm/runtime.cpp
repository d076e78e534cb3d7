// What the C library would ask of the system. A browser has no environment and no standard error.
// The module therefore imports nothing. Where the C library would end the program with a text, the module traps.

extern "C" {
char* getenv(const char*) { return nullptr; }
[[noreturn]] void abort() { __builtin_trap(); }
[[noreturn]] void __abort_message(const char*, ...) { __builtin_trap(); }
}

namespace std::inline __1 {  // libc++'s
[[noreturn]] void __libcpp_verbose_abort(const char*, ...) noexcept;
void __libcpp_verbose_abort(const char*, ...) noexcept { __builtin_trap(); }
}  // namespace std::inline __1
