/* Calls of lite_rtse.h in any order with any arguments, chosen by the bytes of a script. A model says which status each
 * call must return, and how many samples. Samples have any bit pattern.
 *
 * libFuzzer calls LLVMFuzzerTestOneInput. In other builds random_scripts.c does. */
#include <lite_rtse.h>
#include <math.h>
#include <stdint.h>

#include "../stream/native/allocations.h"
#include "check.h"

enum { MOST = 3000, MOST_CALLS = 60, SENTINEL = 7 };

typedef struct {
  const uint8_t* at;
  size_t left;
} Script;

/* A stream, and what is known of it. */
typedef struct {
  lite_rtse_stream* stream;
  int32_t timing, channels;
  size_t latency;
  uint64_t fed, given, faults; /* the first two since the signal began */
} Model;

static lite_rtse_network* network;
static char* weights;
static size_t weights_size;

static void require_at(int ok, int line) {
  if (ok) return;
  fprintf(stderr, "fuzz_calls.c:%d: not as the header says\n", line);
  abort();
}
#define REQUIRE(condition) require_at(condition, __LINE__)

/* A call that must not allocate. */
static int64_t allocations_before;
static lite_rtse_status same_allocations(lite_rtse_status status, int line) {
  require_at(allocations() == allocations_before, line);
  return status;
}
#define CALL(call) (allocations_before = allocations(), same_allocations(call, __LINE__))

/* 0 after the end of the script. */
static uint32_t next(Script* script, size_t bytes) {
  uint32_t value = 0;
  for (; bytes > 0; --bytes) {
    value = value << 8 | (script->left ? *script->at++ : 0);
    script->left -= script->left > 0;
  }
  return value;
}

#define CHOOSE(script, values) ((values)[next(script, 1) % (sizeof(values) / sizeof *(values))])

/* Noise, some samples of which are replaced by any bits. The faults are counted. */
static float* samples(Script* script, size_t count, uint64_t* faults) {
  float* values = malloc((count + !count) * sizeof *values);
  uint32_t state = next(script, 2), bits, times = next(script, 1) % 4;
  size_t i;
  REQUIRE(values != NULL);
  for (i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    values[i] = 0.2f * ((float)(state >> 8) / 16777216.0f - 0.5f);
  }
  while (count > 0 && times--) {
    bits = next(script, 4);
    memcpy(values + next(script, 2) % count, &bits, sizeof bits);
  }
  for (*faults = 0, i = 0; i < count; ++i) *faults += !isfinite(values[i]);
  return values;
}

static float* room_for(size_t count) {
  float* out = malloc((count + !count) * sizeof *out);
  size_t i;
  REQUIRE(out != NULL);
  for (i = 0; i < count; ++i) out[i] = SENTINEL;
  return out;
}

static void require_untouched(const float* out, size_t from, size_t to) {
  for (; from < to; ++from) REQUIRE(out[from] == SENTINEL);
}

/* Ends the stream, and makes another if the arguments allow one. */
static void create(Model* model, Script* script) {
  static const int32_t rates[] = {16000,  48000, 8000, 44100, 11025, 22050,   32000,     96000,
                                  192000, 1000,  999,  0,     -1,    1000001, INT32_MAX, INT32_MIN},
                       counts[] = {1, 2, 3, 0, -1, 65, INT32_MAX}, switches[] = {0, 1, 0, 1, 0, 1, 2, -1};
  const int32_t rate = CHOOSE(script, rates), channels = CHOOSE(script, counts), timing = CHOOSE(script, switches),
                high_pass = CHOOSE(script, switches);
  const lite_rtse_network* of = next(script, 1) % 16 ? network : NULL;
  const int good = rate >= LITE_RTSE_LEAST_RATE_HZ && rate <= LITE_RTSE_MOST_RATE_HZ && channels > 0 &&
                   channels <= LITE_RTSE_MOST_CHANNELS && timing >= 0 && timing < 2 && high_pass >= 0 && high_pass < 2;
  const lite_rtse_status status = of ? good ? LITE_RTSE_OK : LITE_RTSE_ERROR_RANGE : LITE_RTSE_ERROR_NULL;
  lite_rtse_stream_destroy(model->stream);
  memset(model, 0, sizeof *model);
  model->stream = (lite_rtse_stream*)weights;
  REQUIRE(lite_rtse_stream_create_at(of, timing, high_pass, rate, channels, &model->stream) == status);
  REQUIRE((status == LITE_RTSE_OK) == (model->stream != NULL));
  model->timing = good ? timing : LITE_RTSE_LIVE;
  model->channels = good ? channels : 1;
  REQUIRE((lite_rtse_stream_latency(model->stream, &model->latency) == LITE_RTSE_OK) == (status == LITE_RTSE_OK));
}

static lite_rtse_status expected(const Model* model, const float* in, size_t count, const float* out, size_t needed,
                                 size_t room) {
  if (!model->stream || (!in && count > 0)) return LITE_RTSE_ERROR_NULL;
  if (count > PTRDIFF_MAX / sizeof(float) / (size_t)model->channels) return LITE_RTSE_ERROR_RANGE;
  if (!out && needed > 0) return LITE_RTSE_ERROR_NULL;
  if (room < needed) return LITE_RTSE_ERROR_ROOM;
  if (in == out && count > 0 && needed > 0 && model->timing == LITE_RTSE_ALIGNED) return LITE_RTSE_ERROR_OVERLAP;
  return LITE_RTSE_OK;
}

/* `count` is what the call is told, also if there are fewer samples: it must then refuse before it reads them. */
static void process(Model* model, Script* script) {
  static const size_t sizes[] = {0, 1, 255, 256, MOST, 1000000000, SIZE_MAX / 2, SIZE_MAX};
  const uint32_t how = next(script, 1);
  const size_t count = how & 1 ? next(script, 2) % MOST : CHOOSE(script, sizes), channels = (size_t)model->channels;
  const size_t held = count > MOST ? 0 : count * channels;
  uint64_t faults;
  size_t needed = SENTINEL, room, written = SENTINEL, i;
  float *in = samples(script, held, &faults), *apart = NULL, *out = in;
  lite_rtse_status status = CALL(lite_rtse_stream_room(model->stream, count, &needed));
  REQUIRE(status == LITE_RTSE_OK || needed == 0);
  if (status == LITE_RTSE_OK && count <= MOST) {
    REQUIRE(model->timing == LITE_RTSE_LIVE ? needed == count : needed <= count + model->latency);
    if (how & 6 || needed > count) out = apart = room_for(needed * channels);
  }
  room = how & 24 || needed == 0 ? needed : needed - 1;
  if (count > MOST) room = MOST;
  if (how >> 5 == 1) out = NULL;
  status = expected(model, how >> 5 == 2 ? NULL : in, count, out, needed, room);
  REQUIRE(CALL(lite_rtse_stream_process(model->stream, how >> 5 == 2 ? NULL : in, count, out, room, &written)) ==
          status);
  if (status == LITE_RTSE_OK) {
    REQUIRE(model->timing == LITE_RTSE_LIVE ? written == count : written <= needed);
    for (i = 0; i < written * channels; ++i) REQUIRE(isfinite(out[i]));
    if (apart) require_untouched(apart, written * channels, needed * channels);
    model->fed += count;
    model->given += written;
    model->faults += faults;
  } else {
    REQUIRE(written == 0);
    if (apart) require_untouched(apart, 0, needed * channels);
  }
  free(apart);
  free(in);
}

static void flush(Model* model, Script* script) {
  const uint32_t how = next(script, 1);
  const size_t room = how % 4 || model->latency == 0 ? model->latency + how / 64 : how % model->latency;
  size_t written = SENTINEL, size = room * (size_t)model->channels, i;
  float* out = how % 16 == 1 ? NULL : room_for(size);
  const lite_rtse_status status = !model->stream || !out  ? LITE_RTSE_ERROR_NULL
                                  : room < model->latency ? LITE_RTSE_ERROR_ROOM
                                                          : LITE_RTSE_OK;
  REQUIRE(CALL(lite_rtse_stream_flush(model->stream, out, room, &written)) == status);
  if (status == LITE_RTSE_OK) {
    REQUIRE(model->given + written == model->fed + (model->timing == LITE_RTSE_LIVE ? model->latency : 0));
    for (i = 0; i < written * (size_t)model->channels; ++i) REQUIRE(isfinite(out[i]));
    require_untouched(out, model->latency * (size_t)model->channels, size);
    model->fed = model->given = 0;
  } else {
    REQUIRE(written == 0);
    if (out) require_untouched(out, 0, size);
  }
  free(out);
}

static void settings(Model* model, Script* script) {
  static const double values[] = {0, 0.5, 1, 24, 1e300, INFINITY, NAN, -INFINITY, -0.001, 1.001, 5e-324};
  const double share = CHOOSE(script, values), limit = CHOOSE(script, values), extra = CHOOSE(script, values);
  const int share_good = share >= 0 && share <= 1, limit_good = limit >= 0, extra_good = extra >= 0,
            there = model->stream != NULL;
  REQUIRE(CALL(lite_rtse_stream_set_wet(model->stream, share)) == (!there       ? LITE_RTSE_ERROR_NULL
                                                                   : share_good ? LITE_RTSE_OK
                                                                                : LITE_RTSE_ERROR_RANGE));
  REQUIRE(CALL(lite_rtse_stream_set_attenuation_limit(model->stream, limit)) == (!there       ? LITE_RTSE_ERROR_NULL
                                                                                 : limit_good ? LITE_RTSE_OK
                                                                                              : LITE_RTSE_ERROR_RANGE));
  REQUIRE(CALL(lite_rtse_stream_set_extra_reduction(model->stream, extra)) == (!there       ? LITE_RTSE_ERROR_NULL
                                                                               : extra_good ? LITE_RTSE_OK
                                                                                            : LITE_RTSE_ERROR_RANGE));
}

static void reset(Model* model) {
  REQUIRE(CALL(lite_rtse_stream_reset(model->stream)) == (model->stream ? LITE_RTSE_OK : LITE_RTSE_ERROR_NULL));
  model->fed = model->given = 0;
}

static void questions(Model* model, Script* script) {
  uint64_t faults = SENTINEL, frames = SENTINEL;
  size_t latency = SENTINEL;
  REQUIRE(*lite_rtse_status_text((int32_t)next(script, 4)));
  REQUIRE(CALL(lite_rtse_stream_faults(model->stream, &faults, &frames)) ==
          (model->stream ? LITE_RTSE_OK : LITE_RTSE_ERROR_NULL));
  REQUIRE(faults == model->faults && (model->stream || frames == 0));
  CALL(lite_rtse_stream_latency(model->stream, &latency));
  REQUIRE(latency == model->latency);
}

/* The beginning of the weights, in memory that ends there. */
static void parse(Script* script) {
  const size_t size = next(script, 3) % weights_size;
  char message[40], *cut = malloc(size + !size);
  lite_rtse_network* none = network;
  REQUIRE(cut != NULL);
  memcpy(cut, weights, size);
  REQUIRE(lite_rtse_network_parse(cut, size, LITE_RTSE_INT16, &none, message, next(script, 1) % sizeof message) ==
          LITE_RTSE_ERROR_FORMAT);
  REQUIRE(none == NULL);
  free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Script script = {data, size};
  Model model = {NULL, 0, 1, 0, 0, 0, 0};
  int calls;
  if (!network) {
    weights = read_whole(LITE_RTSE_TEST_WEIGHTS, &weights_size);
    REQUIRE(!lite_rtse_network_parse(weights, weights_size, LITE_RTSE_INT16, &network, NULL, 0));
  }
  create(&model, &script);
  for (calls = 0; script.left > 0 && calls < MOST_CALLS; ++calls) {
    switch (next(&script, 1) % 16) {
      case 0: flush(&model, &script); break;
      case 1: reset(&model); break;
      case 2: settings(&model, &script); break;
      case 3: questions(&model, &script); break;
      case 4: create(&model, &script); break;
      case 5: parse(&script); break;
      default: process(&model, &script);
    }
  }
  lite_rtse_stream_destroy(model.stream);
  return 0;
}
