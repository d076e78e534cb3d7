/* Every function of lite_rtse.h, and every error that is not a fault of the library or left to test_system.c. The
 * argument is the file of the weights. */
#include <lite_rtse.h>
#include <math.h>

#include "../stream/native/allocations.h"
#include "check.h"

enum { COUNT = 4000 };

static lite_rtse_network* network;
static float noise[COUNT];

static lite_rtse_stream* make(int32_t timing) {
  lite_rtse_stream* stream;
  CHECK(lite_rtse_stream_create(network, timing, 1, &stream) == LITE_RTSE_OK && stream);
  return stream;
}

static void test_texts(void) {
  int32_t status;
  for (status = 0; status <= LITE_RTSE_ERROR_MIN_GAIN; ++status) {
    int32_t other;
    for (other = 0; other < status; ++other)
      CHECK(strcmp(lite_rtse_status_text(status), lite_rtse_status_text(other)) != 0);
  }
  CHECK(strcmp(lite_rtse_status_text(-1), "unknown status") == 0);
  CHECK(strcmp(lite_rtse_status_text(INT32_MAX), "unknown status") == 0);
  CHECK(strcmp(lite_rtse_status_text(LITE_RTSE_ERROR_MIN_GAIN + 1), "unknown status") == 0);
  CHECK(lite_rtse_version() == LITE_RTSE_VERSION);
}

static void test_load(const char* path) {
  lite_rtse_network* n = (lite_rtse_network*)path;
  char message[300];
  int32_t precision;
  CHECK(lite_rtse_network_load(NULL, 0, &n, message, sizeof message) == LITE_RTSE_ERROR_NULL && !n);
  CHECK(strcmp(message, lite_rtse_status_text(LITE_RTSE_ERROR_NULL)) == 0);
  CHECK(lite_rtse_network_load(path, 0, NULL, message, sizeof message) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_network_load(path, 4, &n, NULL, 0) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_network_load(path, -1, &n, NULL, 1000) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_network_load("no such file", 0, &n, message, sizeof message) == LITE_RTSE_ERROR_FILE);
  CHECK(strcmp(message, "the file can't be opened: no such file") == 0);
  CHECK(lite_rtse_network_load("", 0, &n, NULL, 0) == LITE_RTSE_ERROR_FILE);
  CHECK(lite_rtse_network_load("/", 0, &n, message, sizeof message) == LITE_RTSE_ERROR_FILE && !n);
  CHECK(lite_rtse_network_load("/dev/null", 0, &n, message, sizeof message) == LITE_RTSE_ERROR_FORMAT);
  CHECK(lite_rtse_network_load("no\nsuch\xff", 0, &n, message, sizeof message) == LITE_RTSE_ERROR_FILE);
  CHECK(strcmp(message, "the file can't be opened: no?such?") == 0);
  memset(message, 'x', sizeof message);
  CHECK(lite_rtse_network_load("", 0, &n, message, 9) == LITE_RTSE_ERROR_FILE);
  CHECK(strcmp(message, "the file") == 0 && message[9] == 'x');
  CHECK(lite_rtse_network_load("", 0, &n, message + 20, 0) == LITE_RTSE_ERROR_FILE && message[20] == 'x');
  for (precision = LITE_RTSE_FLOAT32; precision <= LITE_RTSE_INT8; ++precision) {
    CHECK(lite_rtse_network_load(path, precision, &n, message, sizeof message) == LITE_RTSE_OK && n && !*message);
    lite_rtse_network_destroy(n);
  }
  lite_rtse_network_destroy(NULL);
}

static void test_parse(const char* bytes, size_t size) {
  lite_rtse_network* n = NULL;
  char* copy = malloc(size + 1);
  char message[300];
  size_t cut;
  CHECK(lite_rtse_network_parse(NULL, size, 0, &n, NULL, 0) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_network_parse(bytes, size, 0, NULL, NULL, 0) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_network_parse(bytes, size, 7, &n, NULL, 0) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_network_parse(bytes, (size_t)1 << 60, 0, &n, message, sizeof message) == LITE_RTSE_ERROR_NETWORK);
  CHECK(lite_rtse_network_parse(bytes, SIZE_MAX, 0, &n, message, sizeof message) == LITE_RTSE_ERROR_NETWORK);
  for (cut = 0; cut < size; cut = cut < 16 ? cut + 1 : cut * 2)
    CHECK(lite_rtse_network_parse(bytes, cut, 0, &n, NULL, 0) == LITE_RTSE_ERROR_FORMAT && !n);
  CHECK(lite_rtse_network_parse(bytes, size - 1, 0, &n, message, sizeof message) == LITE_RTSE_ERROR_FORMAT);
  memcpy(copy + 1, bytes, size); /* no number of it is aligned then */
  CHECK(lite_rtse_network_parse(copy + 1, size, 0, &n, message, sizeof message) == LITE_RTSE_OK && n);
  lite_rtse_network_destroy(n);
  memset(copy + 1 + size - 4, 0xff, 4); /* NaN */
  CHECK(lite_rtse_network_parse(copy + 1, size, 0, &n, message, sizeof message) == LITE_RTSE_ERROR_NETWORK && !n);
  CHECK(strcmp(message, "to_real.weight holds a value that is not finite") == 0);
  free(copy);
}

static void test_create(void) {
  static const int32_t rates[] = {0, -1, INT32_MIN, INT32_MAX, LITE_RTSE_LEAST_RATE_HZ - 1, LITE_RTSE_MOST_RATE_HZ + 1};
  static const int32_t channels[] = {0, -1, INT32_MIN, INT32_MAX, LITE_RTSE_MOST_CHANNELS + 1};
  lite_rtse_stream* stream = (lite_rtse_stream*)noise;
  size_t i;
  CHECK(lite_rtse_stream_create(NULL, 0, 1, &stream) == LITE_RTSE_ERROR_NULL && !stream);
  CHECK(lite_rtse_stream_create(network, 0, 1, NULL) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_create(network, 2, 1, &stream) == LITE_RTSE_ERROR_RANGE && !stream);
  CHECK(lite_rtse_stream_create(network, -1, 1, &stream) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_create(network, 0, 2, &stream) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_create(network, 0, -1, &stream) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_create_at(NULL, 0, 1, 48000, 1, &stream) == LITE_RTSE_ERROR_NULL && !stream);
  CHECK(lite_rtse_stream_create_at(network, 0, 1, 48000, 1, NULL) == LITE_RTSE_ERROR_NULL);
  for (i = 0; i < 6; ++i)
    CHECK(lite_rtse_stream_create_at(network, 0, 1, rates[i], 1, &stream) == LITE_RTSE_ERROR_RANGE && !stream);
  for (i = 0; i < 5; ++i)
    CHECK(lite_rtse_stream_create_at(network, 0, 1, 48000, channels[i], &stream) == LITE_RTSE_ERROR_RANGE && !stream);
  lite_rtse_stream_destroy(NULL);
}

static void test_null_and_range(void) {
  lite_rtse_stream* s = make(LITE_RTSE_ALIGNED);
  float out[1024];
  size_t n = 7, billion = 1000000000;
  uint64_t samples = 7, frames = 7;
  CHECK(lite_rtse_stream_room(NULL, 1, &n) == LITE_RTSE_ERROR_NULL && n == 0);
  CHECK(lite_rtse_stream_room(s, 1, NULL) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_room(s, SIZE_MAX, &n) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_room(s, billion, &n) == LITE_RTSE_OK && n == billion / 256 * 256);
  n = 7;
  CHECK(lite_rtse_stream_process(NULL, noise, 1, out, 1, &n) == LITE_RTSE_ERROR_NULL && n == 0);
  CHECK(lite_rtse_stream_process(s, NULL, 1, out, 1, &n) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_process(s, noise, 256, NULL, 256, &n) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_process(s, noise, 1, out, 1, NULL) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_process(s, noise, SIZE_MAX, out, SIZE_MAX, &n) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_process(s, noise, billion, out, 1024, &n) == LITE_RTSE_ERROR_ROOM && n == 0);
  CHECK(lite_rtse_stream_process(s, noise, 256, out, 255, &n) == LITE_RTSE_ERROR_ROOM);
  CHECK(lite_rtse_stream_process(s, noise, 0, NULL, 0, &n) == LITE_RTSE_OK && n == 0);
  CHECK(lite_rtse_stream_process(s, NULL, 0, NULL, 0, &n) == LITE_RTSE_OK && n == 0);
  CHECK(lite_rtse_stream_flush(NULL, out, 512, &n) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_flush(s, NULL, 512, &n) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_flush(s, out, 512, NULL) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_flush(s, out, 511, &n) == LITE_RTSE_ERROR_ROOM);
  CHECK(lite_rtse_stream_flush(s, out, 0, &n) == LITE_RTSE_ERROR_ROOM);
  CHECK(lite_rtse_stream_flush(s, out, 512, &n) == LITE_RTSE_OK && n == 0); /* nothing went in */
  CHECK(lite_rtse_stream_reset(NULL) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_set_wet(NULL, 1) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_set_wet(s, -0.01) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_wet(s, 1.01) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_wet(s, NAN) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_attenuation_limit(NULL, 1) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_set_attenuation_limit(s, -1) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_attenuation_limit(s, -INFINITY) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_attenuation_limit(s, NAN) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_extra_reduction(NULL, 1) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_set_extra_reduction(s, -1) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_extra_reduction(s, -INFINITY) == LITE_RTSE_ERROR_RANGE);
  CHECK(lite_rtse_stream_set_extra_reduction(s, NAN) == LITE_RTSE_ERROR_RANGE);
  n = 7;
  CHECK(lite_rtse_stream_latency(NULL, &n) == LITE_RTSE_ERROR_NULL && n == 0);
  CHECK(lite_rtse_stream_latency(s, NULL) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_faults(NULL, &samples, &frames) == LITE_RTSE_ERROR_NULL && samples == 0 && frames == 0);
  CHECK(lite_rtse_stream_faults(s, NULL, &frames) == LITE_RTSE_ERROR_NULL);
  CHECK(lite_rtse_stream_faults(s, &samples, NULL) == LITE_RTSE_ERROR_NULL);
  lite_rtse_stream_destroy(s);
}

/* All output for the noise in blocks of `size` samples; the number of samples. */
static size_t run(lite_rtse_stream* s, size_t size, float* out) {
  size_t at, total = 0, n;
  for (at = 0; at < COUNT; at += size) {
    const size_t count = COUNT - at < size ? COUNT - at : size;
    size_t room;
    CHECK(lite_rtse_stream_room(s, count, &room) == LITE_RTSE_OK);
    CHECK(lite_rtse_stream_process(s, noise + at, count, out + total, room, &n) == LITE_RTSE_OK && n <= room);
    total += n;
  }
  CHECK(lite_rtse_stream_flush(s, out + total, LITE_RTSE_MOST_FLUSHED, &n) == LITE_RTSE_OK);
  return total + n;
}

static void test_timing(void) {
  static float aligned[COUNT + 512], live[COUNT + 512], again[COUNT + 512];
  lite_rtse_stream *a = make(LITE_RTSE_ALIGNED), *l = make(LITE_RTSE_LIVE);
  size_t latency, n, i;
  CHECK(lite_rtse_stream_latency(l, &latency) == LITE_RTSE_OK && latency == 512);
  CHECK(run(a, 333, aligned) == COUNT && run(l, 100, live) == COUNT + latency);
  for (i = 0; i < latency; ++i) CHECK(live[i] == 0);
  CHECK(memcmp(aligned, live + latency, sizeof(float) * COUNT) == 0);
  CHECK(run(a, COUNT, again) == COUNT && memcmp(aligned, again, sizeof(float) * COUNT) == 0);
  CHECK(lite_rtse_stream_process(l, noise, 300, again, 300, &n) == LITE_RTSE_OK && n == 300);
  CHECK(lite_rtse_stream_reset(l) == LITE_RTSE_OK);
  CHECK(run(l, 1, again) == COUNT + latency && memcmp(live, again, sizeof(float) * (COUNT + latency)) == 0);
  lite_rtse_stream_destroy(a);
  lite_rtse_stream_destroy(l);
}

static void test_overlap(void) {
  static float apart[COUNT], both[COUNT];
  lite_rtse_stream *a = make(LITE_RTSE_ALIGNED), *l = make(LITE_RTSE_LIVE), *m = make(LITE_RTSE_LIVE);
  size_t at, n;
  memcpy(both, noise, sizeof noise);
  CHECK(lite_rtse_stream_process(l, both, 1000, both + 1, 1000, &n) == LITE_RTSE_ERROR_OVERLAP);
  CHECK(lite_rtse_stream_process(l, both + 999, 1000, both, 1000, &n) == LITE_RTSE_ERROR_OVERLAP);
  CHECK(lite_rtse_stream_process(a, both, 256, both, 256, &n) == LITE_RTSE_ERROR_OVERLAP);
  CHECK(memcmp(both, noise, sizeof noise) == 0);
  CHECK(lite_rtse_stream_process(a, both, 255, both, 255, &n) == LITE_RTSE_OK && n == 0); /* nothing is written */
  for (at = 0; at < COUNT; at += 400) {
    CHECK(lite_rtse_stream_process(l, both + at, 400, both + at, 400, &n) == LITE_RTSE_OK);
    CHECK(lite_rtse_stream_process(m, noise + at, 400, apart + at, 400, &n) == LITE_RTSE_OK);
  }
  CHECK(memcmp(both, apart, sizeof apart) == 0);
  lite_rtse_stream_destroy(a);
  lite_rtse_stream_destroy(l);
  lite_rtse_stream_destroy(m);
}

static void test_settings(void) {
  static float out[COUNT + 512];
  lite_rtse_stream* s = make(LITE_RTSE_ALIGNED);
  double most = 0;
  size_t i;
  CHECK(lite_rtse_stream_set_attenuation_limit(s, 0) == LITE_RTSE_OK);
  CHECK(run(s, 256, out) == COUNT);
  for (i = 0; i < COUNT; ++i) most = fmax(most, fabs(out[i] - noise[i]));
  CHECK(most < 1e-6);
  CHECK(lite_rtse_stream_set_attenuation_limit(s, INFINITY) == LITE_RTSE_OK);
  CHECK(run(s, 256, out) == COUNT);
  most = 0;
  for (i = 0; i < COUNT; ++i) most = fmax(most, fabs(out[i] - noise[i]));
  CHECK(most > 1e-2);
  CHECK(lite_rtse_stream_set_wet(s, 0) == LITE_RTSE_OK);
  CHECK(run(s, 256, out) == COUNT && fabs(out[1000] - noise[1000]) < 1e-6);
  lite_rtse_stream_destroy(s);
}

/* From the next frame on. Half a window later nothing is left of the frames before. */
static void test_extra_reduction(void) {
  static float usual[COUNT + 512], lower[COUNT + 512], out[COUNT];
  lite_rtse_stream *s = make(LITE_RTSE_ALIGNED), *other = make(LITE_RTSE_ALIGNED);
  size_t n, total;
  CHECK(run(s, 256, usual) == COUNT);
  CHECK(lite_rtse_stream_set_extra_reduction(other, 12) == LITE_RTSE_OK && run(other, 100, lower) == COUNT);
  CHECK(memcmp(usual, lower, sizeof out) != 0);
  CHECK(lite_rtse_stream_set_extra_reduction(other, 0) == LITE_RTSE_OK && run(other, 100, lower) == COUNT);
  CHECK(memcmp(usual, lower, sizeof out) == 0);
  CHECK(lite_rtse_stream_set_extra_reduction(other, INFINITY) == LITE_RTSE_OK && run(other, 100, lower) == COUNT);
  CHECK(lite_rtse_stream_process(s, noise, 1300, out, COUNT, &n) == LITE_RTSE_OK && n == 1024);
  CHECK(lite_rtse_stream_set_extra_reduction(s, INFINITY) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_process(s, noise + 1300, 1300, out + n, COUNT - n, &total) == LITE_RTSE_OK);
  total += n;
  CHECK(memcmp(out, usual, sizeof(float) * 1024) == 0);
  CHECK(memcmp(out + 1024, usual + 1024, sizeof(float) * 256) != 0);
  CHECK(memcmp(out + 1280, lower + 1280, sizeof(float) * (total - 1280)) == 0);
  lite_rtse_stream_destroy(s);
  lite_rtse_stream_destroy(other);
}

/* The entry of the metadata gets another name, so the minimum gain is not known. */
static void test_unknown_min_gain(const char* bytes, size_t size) {
  lite_rtse_network* n;
  lite_rtse_stream* s;
  char *copy = malloc(size), *name = copy;
  memcpy(copy, bytes, size);
  while (strncmp(name, "min_gain", 8) != 0) ++name;
  *name = 'M';
  CHECK(lite_rtse_network_parse(copy, size, LITE_RTSE_INT16, &n, NULL, 0) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_create(n, LITE_RTSE_LIVE, 1, &s) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_set_extra_reduction(s, 0) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_set_extra_reduction(s, 1) == LITE_RTSE_ERROR_MIN_GAIN);
  CHECK(lite_rtse_stream_set_extra_reduction(s, INFINITY) == LITE_RTSE_ERROR_MIN_GAIN);
  CHECK(lite_rtse_stream_set_extra_reduction(s, NAN) == LITE_RTSE_ERROR_RANGE);
  lite_rtse_stream_destroy(s);
  lite_rtse_network_destroy(n);
  free(copy);
}

static void test_faults(void) {
  float in[1024] = {0}, out[1024];
  lite_rtse_stream* s = make(LITE_RTSE_LIVE);
  uint64_t samples, frames;
  size_t n, i;
  in[3] = NAN;
  in[700] = -INFINITY;
  CHECK(lite_rtse_stream_process(s, in, 1024, out, 1024, &n) == LITE_RTSE_OK && n == 1024);
  CHECK(lite_rtse_stream_faults(s, &samples, &frames) == LITE_RTSE_OK && samples == 2 && frames == 0);
  for (i = 0; i < 1024; ++i) in[i] = i % 2 ? 3e38f : -3e38f;
  CHECK(lite_rtse_stream_process(s, in, 1024, out, 1024, &n) == LITE_RTSE_OK);
  for (i = 0; i < 1024; ++i) CHECK(isfinite(out[i]));
  CHECK(lite_rtse_stream_reset(s) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_faults(s, &samples, &frames) == LITE_RTSE_OK && samples == 2 && frames > 0);
  lite_rtse_stream_destroy(s);
}

static void test_network_may_go_first(const char* path) {
  lite_rtse_network* n;
  lite_rtse_stream* s;
  float out[512];
  size_t written;
  CHECK(lite_rtse_network_load(path, LITE_RTSE_FLOAT32, &n, NULL, 0) == LITE_RTSE_OK);
  CHECK(lite_rtse_stream_create(n, LITE_RTSE_LIVE, 0, &s) == LITE_RTSE_OK);
  lite_rtse_network_destroy(n);
  CHECK(lite_rtse_stream_process(s, noise, 512, out, 512, &written) == LITE_RTSE_OK);
  lite_rtse_stream_destroy(s);
}

/* A stream of two channels at 48 kHz that gives what it takes, in place. */
static void test_rate(void) {
  enum { HALF = COUNT / 2, ROOM = 2 * 2000 };
  static float both[COUNT], rest[ROOM];
  lite_rtse_stream* s;
  size_t latency, room, n, at, i;
  int64_t before;
  double most = 0;
  CHECK(lite_rtse_stream_create_at(network, LITE_RTSE_LIVE, 1, 48000, 2, &s) == LITE_RTSE_OK);
  before = allocations();
  CHECK(lite_rtse_stream_latency(s, &latency) == LITE_RTSE_OK && latency < 48 * 45 && latency <= HALF);
  CHECK(lite_rtse_stream_set_attenuation_limit(s, 0) == LITE_RTSE_OK);
  memcpy(both, noise, sizeof noise);
  CHECK(lite_rtse_stream_room(s, SIZE_MAX / 8, &room) == LITE_RTSE_ERROR_RANGE && room == 0);
  CHECK(lite_rtse_stream_process(s, both, 1000, both + 1000, 1000, &n) == LITE_RTSE_ERROR_OVERLAP);
  CHECK(lite_rtse_stream_process(s, both, 1000, rest, 999, &n) == LITE_RTSE_ERROR_ROOM);
  for (at = 0; at < HALF; at += 100) {
    CHECK(lite_rtse_stream_room(s, 100, &room) == LITE_RTSE_OK && room == 100);
    CHECK(lite_rtse_stream_process(s, both + 2 * at, 100, both + 2 * at, 100, &n) == LITE_RTSE_OK && n == 100);
  }
  CHECK(lite_rtse_stream_flush(s, rest, latency - 1, &n) == LITE_RTSE_ERROR_ROOM);
  CHECK(lite_rtse_stream_flush(s, rest, latency, &n) == LITE_RTSE_OK && n == latency);
  for (i = 0; i < 2 * latency; ++i) most = fmax(most, fabs(both[i]));
  for (i = 0; i < COUNT; ++i) {
    const size_t late = i + 2 * latency;
    most = fmax(most, fabs((late < COUNT ? both[late] : rest[late - COUNT]) - noise[i]));
  }
  CHECK(most < 1e-6);
  CHECK(allocations() == before);
  lite_rtse_stream_destroy(s);
}

static void test_allocations(void) {
  static float out[COUNT + 512];
  lite_rtse_stream *a = make(LITE_RTSE_ALIGNED), *l = make(LITE_RTSE_LIVE);
  uint64_t samples, frames;
  const int64_t before = allocations();
  size_t n;
  run(a, 333, out);
  run(l, 100, out);
  lite_rtse_stream_set_wet(a, 0.5);
  lite_rtse_stream_set_attenuation_limit(a, 12);
  lite_rtse_stream_set_extra_reduction(a, INFINITY);
  lite_rtse_stream_faults(a, &samples, &frames);
  lite_rtse_stream_latency(a, &n);
  CHECK(lite_rtse_stream_process(a, noise, 1000, out, 1, &n) == LITE_RTSE_ERROR_ROOM);
  CHECK(lite_rtse_stream_set_wet(a, 2) == LITE_RTSE_ERROR_RANGE);
  CHECK(*lite_rtse_status_text(LITE_RTSE_ERROR_ROOM));
  lite_rtse_stream_reset(a);
  CHECK(allocations() == before);
  lite_rtse_stream_destroy(a);
  CHECK(before == -1 || allocations() > before); /* they are counted */
  lite_rtse_stream_destroy(l);
}

int main(int argc, char** argv) {
  size_t size, i;
  uint32_t state = 1;
  char* bytes;
  if (argc != 2) return 2;
  for (i = 0; i < COUNT; ++i) {
    state = state * 1664525u + 1013904223u;
    noise[i] = 0.2f * ((float)(state >> 8) / 16777216.0f - 0.5f);
  }
  bytes = read_whole(argv[1], &size);
  CHECK(lite_rtse_network_parse(bytes, size, LITE_RTSE_FLOAT32, &network, NULL, 0) == LITE_RTSE_OK);
  test_texts();
  test_load(argv[1]);
  test_parse(bytes, size);
  test_create();
  test_null_and_range();
  test_timing();
  test_overlap();
  test_settings();
  test_extra_reduction();
  test_unknown_min_gain(bytes, size);
  test_faults();
  test_network_may_go_first(argv[1]);
  test_rate();
  test_allocations();
  lite_rtse_network_destroy(network);
  free(bytes);
  return report("test_capi");
}
