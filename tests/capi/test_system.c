/* What depends on the system: instruction sets, threads and memory. The argument is the file of the weights. */
#include <lite_rtse.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../stream/native/allocations.h"
#include "check.h"

static lite_rtse_network* network;
static const float noise[512] = {0.1f, -0.1f, 0.05f};

static int seen_busy = 0;

static void* use(void* stream) {
  float out[512];
  size_t n;
  while (!__atomic_load_n(&seen_busy, __ATOMIC_RELAXED)) lite_rtse_stream_process(stream, noise, 512, out, 512, &n);
  return NULL;
}

/* Lets the other thread run, which then is in the middle of its own call nearly all the time. */
static int wait_unless(lite_rtse_status expected, lite_rtse_status status) {
  const struct timespec moment = {0, 100000};
  return status == expected ? 0 : nanosleep(&moment, NULL) || 1;
}

/* Asks for each function until the other thread is in the middle of its own call. */
static void test_busy(void) {
  lite_rtse_stream* s;
  float out[512];
  size_t n;
  uint64_t samples, frames;
  pthread_t thread;
  CHECK(lite_rtse_stream_create(network, LITE_RTSE_LIVE, 1, &s) == LITE_RTSE_OK);
  CHECK(pthread_create(&thread, NULL, use, s) == 0);
  while (wait_unless(LITE_RTSE_ERROR_BUSY, lite_rtse_stream_process(s, noise, 16, out, 16, &n))) continue;
  CHECK(n == 0);
  while (wait_unless(LITE_RTSE_ERROR_BUSY, lite_rtse_stream_room(s, 1, &n))) continue;
  while (wait_unless(LITE_RTSE_ERROR_BUSY, lite_rtse_stream_reset(s))) continue;
  while (wait_unless(LITE_RTSE_ERROR_BUSY, lite_rtse_stream_flush(s, out, 512, &n))) continue;
  CHECK(lite_rtse_stream_set_wet(s, 0.5) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_set_attenuation_limit(s, 10) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_set_extra_reduction(s, 6) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_latency(s, &n) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_faults(s, &samples, &frames) == LITE_RTSE_OK);
  __atomic_store_n(&seen_busy, 1, __ATOMIC_RELAXED);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(lite_rtse_stream_reset(s) == LITE_RTSE_OK);
  lite_rtse_stream_destroy(s);
}

/* Comes before the first network, which settles the choice. */
static void test_instruction_set(const char* path) {
  const char* before = getenv("LITE_RTSE_ISA");
  lite_rtse_network* n;
  char message[300];
  setenv("LITE_RTSE_ISA", "abacus", 1);
  CHECK(lite_rtse_network_load(path, 0, &n, message, sizeof message) == LITE_RTSE_ERROR_ISA && !n);
  CHECK(strncmp(message, "LITE_RTSE_ISA is 'abacus', must be one of: ", 43) == 0);
  before ? setenv("LITE_RTSE_ISA", before, 1) : unsetenv("LITE_RTSE_ISA");
}

static void limit_memory(rlim_t bytes) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* The program may not get any more memory. A sanitizer needs some for itself. */
static void test_memory(const char* bytes, size_t size) {
  static lite_rtse_stream* streams[1000];
  static lite_rtse_network* networks[100];
  char message[300] = "";
  lite_rtse_status status = LITE_RTSE_OK;
  size_t made = 0, i;
  if (allocations() == -1) return;
  limit_memory(1);
  while (made < 1000 && !(status = lite_rtse_stream_create(network, LITE_RTSE_LIVE, 1, &streams[made]))) ++made;
  CHECK(status == LITE_RTSE_ERROR_MEMORY);
  for (i = 0; i < made; ++i) lite_rtse_stream_destroy(streams[i]);
  made = 0;
  while (made < 100 && !(status = lite_rtse_network_parse(bytes, size, 0, &networks[made], message, sizeof message)))
    ++made;
  limit_memory(RLIM_INFINITY);
  CHECK(status == LITE_RTSE_ERROR_MEMORY && strcmp(message, lite_rtse_status_text(status)) == 0);
  for (i = 0; i < made; ++i) lite_rtse_network_destroy(networks[i]);
}

int main(int argc, char** argv) {
  size_t size;
  char* bytes;
  if (argc != 2) return 2;
  alarm(300); /* ends the program if a status never comes that it waits for */
  bytes = read_whole(argv[1], &size);
  test_instruction_set(argv[1]);
  CHECK(lite_rtse_network_parse(bytes, size, LITE_RTSE_FLOAT32, &network, NULL, 0) == LITE_RTSE_OK);
  test_busy();
  test_memory(bytes, size);
  lite_rtse_network_destroy(network);
  free(bytes);
  return report("test_system");
}
