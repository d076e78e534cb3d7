/* What the C programs of this folder share: counted checks, and the content of a file. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks = 0, failures = 0;

#define CHECK(condition)                                           \
  do {                                                             \
    ++checks;                                                      \
    if (!(condition)) {                                            \
      ++failures;                                                  \
      printf("FAIL  %s:%d: %s\n", __FILE__, __LINE__, #condition); \
    }                                                              \
  } while (0)

static char* read_whole(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  char* bytes = malloc((size_t)1 << 24);
  if (!file || !bytes) exit(2);
  *size = fread(bytes, 1, (size_t)1 << 24, file);
  fclose(file);
  return bytes;
}

static inline int report(const char* program) {
  printf("%s: %d checks, %d failures\n", program, checks, failures);
  return failures > 0;
}

#endif
