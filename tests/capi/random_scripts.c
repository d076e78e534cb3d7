/* Runs the fuzzer of the C functions on random scripts. The seed is fixed. The argument is the number of scripts. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  enum { MOST = 1024 };
  const long scripts = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
  uint32_t state = 1;
  long script;
  if (scripts < 1) return 2;
  for (script = 0; script < scripts; ++script) {
    uint8_t bytes[MOST];
    int i;
    for (i = 0; i < MOST; ++i) {
      state = state * 1664525u + 1013904223u;
      bytes[i] = (uint8_t)(state >> 24);
    }
    LLVMFuzzerTestOneInput(bytes, (size_t)(script % 4 ? MOST : script * 7 % MOST));
  }
  printf("random_scripts: %ld scripts, no failures\n", scripts);
  return 0;
}
