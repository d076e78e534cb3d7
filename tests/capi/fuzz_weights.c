/* The reader of weights on damaged content: all cuts, flipped bytes, exchanged pieces. The seed is fixed. The argument
 * is the file of the weights. */
#include <lite_rtse.h>
#include <stdint.h>

#include "check.h"

static uint32_t state = 1;

static uint32_t below(uint32_t most) {
  state = state * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)state * most) >> 32);
}

/* The content, in memory that ends where the content ends. The status must be one of content, with its text. */
static lite_rtse_status parse(const char* bytes, size_t size) {
  char* exact = malloc(size + !size);
  char message[300];
  lite_rtse_network* network;
  lite_rtse_status status;
  if (!exact) exit(2);
  memcpy(exact, bytes, size);
  status = lite_rtse_network_parse(exact, size, LITE_RTSE_FLOAT32, &network, message, sizeof message);
  free(exact);
  CHECK(status == LITE_RTSE_OK || status == LITE_RTSE_ERROR_FORMAT || status == LITE_RTSE_ERROR_NETWORK);
  CHECK((status == LITE_RTSE_OK) == (*message == 0) && (status == LITE_RTSE_OK) == (network != NULL));
  lite_rtse_network_destroy(network);
  return status;
}

/* Pieces that mean something to the reader. */
static const char* const pieces[] = {"{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "\"",
                                     "\\",
                                     "\\u0041",
                                     "\\ud800",
                                     "-1",
                                     "0",
                                     "1e9",
                                     "9223372036854775807",
                                     "18446744073709551616",
                                     "F16",
                                     "F64",
                                     "BF16",
                                     "I16",
                                     "null",
                                     "shape",
                                     "dtype",
                                     "data_offsets",
                                     "__metadata__",
                                     "config",
                                     "min_gain",
                                     "0.1",
                                     "[[[[[[[["};

static void mutate(char* bytes, size_t size, size_t most) {
  uint32_t times = 1 + below(4);
  while (times--) {
    const uint32_t at = below((uint32_t)(most < size ? most : size));
    const char* piece = pieces[below(sizeof pieces / sizeof *pieces)];
    size_t i;
    switch (below(4)) {
      case 0: bytes[at] = (char)(bytes[at] ^ (1 << below(8))); break;
      case 1: bytes[at] = (char)below(256); break;
      case 2: bytes[at] = bytes[below((uint32_t)size)]; break;
      default:
        for (i = 0; piece[i] && at + i < size; ++i) bytes[at + i] = piece[i];
    }
  }
}

/* A file of two tensors and metadata. */
static size_t small(char* bytes) {
  const char* header =
      "{\"__metadata__\":{\"architecture\":\"lite-rtse\",\"config\":\"{\\\"compression\\\": 0.3, \\\"mask_branch\\\": "
      "true, \\\"more\\\": [1, {\\\"x\\\": null}]}\",\"min_gain\":\"[0.1, "
      "0.2]\"},\"fc1.bias\":{\"dtype\":\"F16\",\"shape\":[2,4],\"data_offsets\":"
      "[0,16]},\"fc1.weight\":{\"dtype\":\"F64\",\"shape\":[1,3],\"data_offsets\":[16,40]}}";
  const size_t length = strlen(header);
  memset(bytes, 0, 8 + length + 40);
  bytes[0] = (char)(length & 255);
  bytes[1] = (char)(length >> 8);
  memcpy(bytes + 8, header, length);
  return 8 + length + 40;
}

int main(int argc, char** argv) {
  char few[1024], changed[1024];
  size_t size, header, cut, i;
  char *bytes, *damaged;
  if (argc != 2) return 2;

  size = small(few);
  CHECK(parse(few, size) == LITE_RTSE_ERROR_NETWORK); /* it is whole, but no network */
  for (cut = 0; cut < size; ++cut) CHECK(parse(few, cut) == LITE_RTSE_ERROR_FORMAT);
  for (i = 0; i < 20000; ++i) {
    memcpy(changed, few, size);
    mutate(changed, size, size);
    parse(changed, size - (below(8) ? 0 : below((uint32_t)size)));
  }

  bytes = read_whole(argv[1], &size);
  damaged = malloc(size);
  if (!damaged) return 2;
  header = 8 + (unsigned char)bytes[0] + 256u * (unsigned char)bytes[1];
  for (i = 0; i < 100; ++i) {
    memcpy(damaged, bytes, size);
    mutate(damaged, size, header);
    parse(damaged, size);
  }
  free(damaged);
  free(bytes);
  return report("fuzz_weights");
}
