// What a library needs of its system that older systems lack. With these definitions, which the library keeps to
// itself, one that is built on a new system also runs with glibc 2.28 and the libstdc++ of GCC 8 (manylinux_2_28).
#include <new>  // and no header that declares what is defined here: it would be visible to other libraries

#define HIDDEN __attribute__((visibility("hidden")))

#ifdef __GLIBC__
// libstdc++ asks it whether reference counts may do without atomic instructions: they may not.
extern "C" {
extern HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;
}
#endif

#ifdef __GLIBCXX__
namespace std {
[[noreturn]] HIDDEN void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}  // namespace std
#endif
