// Runs a function of a library in a process of its own: `runner LIBRARY FUNCTION ARGUMENT`. A sanitizer has to be in a
// program from its start, so each has its build of this one.
//
// The function takes a text and returns a text, empty if all went well.
#include <dlfcn.h>

#include <cstdio>

int main(int count, char** arguments) {
  if (count != 4) return std::fprintf(stderr, "usage: runner LIBRARY FUNCTION ARGUMENT\n"), 2;
  void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 2;
  auto* function = reinterpret_cast<const char* (*)(const char*)>(dlsym(library, arguments[2]));
  if (!function) return std::fprintf(stderr, "%s\n", dlerror()), 2;
  const char* fault = function(arguments[3]);
  std::fprintf(stderr, "%s", fault);
  return *fault != 0;
}
