/* lite_rtse: speech enhancement in real time, as a C library.
 *
 * Sound is 32-bit float, full scale 1, at 16 kHz and mono, or at any rate and with any number of channels that
 * lite_rtse_stream_create_at is told. A network holds weights. A stream enhances one signal. Any number of streams can
 * share a network.
 *
 *     lite_rtse_network* network;
 *     lite_rtse_stream* stream;
 *     size_t written;
 *     if (lite_rtse_network_load("lite-rtse.safetensors", LITE_RTSE_FLOAT32, &network, NULL, 0)) ...
 *     if (lite_rtse_stream_create(network, LITE_RTSE_LIVE, 1, &stream)) ...
 *     lite_rtse_network_destroy(network);
 *     while (...) lite_rtse_stream_process(stream, block, count, block, count, &written);
 *     lite_rtse_stream_destroy(stream);
 *
 * Errors. Every function that can fail returns a lite_rtse_status. A call that fails changes neither the stream nor
 * the output samples. It sets results behind pointers, such as `network` or `written`, to NULL or 0. No C++ exception
 * leaves the library.
 *
 * Threads. A network can be used by any number of threads at the same time. A stream belongs to one thread at a time:
 * a second thread gets LITE_RTSE_ERROR_BUSY. Only lite_rtse_stream_set_wet, lite_rtse_stream_set_attenuation_limit,
 * lite_rtse_stream_set_extra_reduction, lite_rtse_stream_faults and lite_rtse_stream_latency can be called by any
 * thread at any time. No thread may use a network or a stream while another thread destroys it, or later.
 *
 * Real time. Loading a network and creating a stream allocate memory. All other functions with a stream, other than
 * lite_rtse_stream_destroy, allocate nothing, lock nothing and call no system function.
 */
#ifndef LITE_RTSE_H
#define LITE_RTSE_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header. */
#define LITE_RTSE_VERSION_MAJOR 0
#define LITE_RTSE_VERSION_MINOR 1
#define LITE_RTSE_VERSION_PATCH 0
/* The version as one number that can be compared: 1.2.3 is 10203. */
#define LITE_RTSE_VERSION (LITE_RTSE_VERSION_MAJOR * 10000 + LITE_RTSE_VERSION_MINOR * 100 + LITE_RTSE_VERSION_PATCH)

#if defined(LITE_RTSE_BUILDING) && defined(__GNUC__)
#define LITE_RTSE_API __attribute__((visibility("default")))
#else
#define LITE_RTSE_API
#endif

/* The sample rate of the network, and of streams that lite_rtse_stream_create makes. */
#define LITE_RTSE_SAMPLE_RATE_HZ 16000
/* The sample rates and numbers of channels that lite_rtse_stream_create_at accepts. */
#define LITE_RTSE_LEAST_RATE_HZ 1000
#define LITE_RTSE_MOST_RATE_HZ 1000000
#define LITE_RTSE_MOST_CHANNELS 64
/* The largest number of samples that lite_rtse_stream_flush writes at 16 kHz: the latency. */
#define LITE_RTSE_MOST_FLUSHED 512

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t lite_rtse_status;

enum {
  LITE_RTSE_OK = 0,
  LITE_RTSE_ERROR_NULL = 1,      /* a pointer is NULL that must not be */
  LITE_RTSE_ERROR_RANGE = 2,     /* a number is outside its range */
  LITE_RTSE_ERROR_ROOM = 3,      /* the output has too little room */
  LITE_RTSE_ERROR_OVERLAP = 4,   /* input and output overlap where they must not */
  LITE_RTSE_ERROR_BUSY = 5,      /* another thread is using the stream */
  LITE_RTSE_ERROR_FILE = 6,      /* the file can't be opened or read */
  LITE_RTSE_ERROR_FORMAT = 7,    /* the weights are no safetensors file, or a damaged one */
  LITE_RTSE_ERROR_NETWORK = 8,   /* the weights are those of another network */
  LITE_RTSE_ERROR_ISA = 9,       /* LITE_RTSE_ISA names no instruction set that this processor can run */
  LITE_RTSE_ERROR_MEMORY = 10,   /* the system refused to give memory */
  LITE_RTSE_ERROR_INTERNAL = 11, /* a fault of the library */
  LITE_RTSE_ERROR_MIN_GAIN = 12  /* the weights do not state their minimum gain */
};

/* How the weights of the LSTMs and linear layers are stored. With fewer bits a frame reads less memory and is faster.
 * docs/streaming.md says how far the output differs: with 24 bits as little as with float, with 16 bits by 1e-4. */
enum { LITE_RTSE_FLOAT32 = 0, LITE_RTSE_INT16 = 1, LITE_RTSE_INT24 = 2, LITE_RTSE_INT8 = 3 };

/* LITE_RTSE_ALIGNED: sample n of the output is sample n of the input, enhanced. Output comes in frames of 256 samples,
 * so a call can return fewer or more samples than it takes. With lite_rtse_stream_flush the output is as long as the
 * input. This is the timing for files.
 * LITE_RTSE_LIVE: every call returns as many samples as it takes. The output is late by lite_rtse_stream_latency
 * samples, and silent at first. This is the timing for sound callbacks. */
enum { LITE_RTSE_ALIGNED = 0, LITE_RTSE_LIVE = 1 };

typedef struct lite_rtse_network lite_rtse_network;
typedef struct lite_rtse_stream lite_rtse_stream;

/* The LITE_RTSE_VERSION of the library that the program runs with. */
LITE_RTSE_API int32_t lite_rtse_version(void);

/* The meaning of a status in English, for any number. The text is constant and never NULL. */
LITE_RTSE_API const char* lite_rtse_status_text(lite_rtse_status status);

/* Reads a safetensors file of Lite-RTSE weights, such as the lite-rtse.safetensors that comes with the library.
 *
 *   path          the file's name
 *   precision     LITE_RTSE_INT24, LITE_RTSE_FLOAT32, LITE_RTSE_INT16 or LITE_RTSE_INT8
 *   network       gets the network, to be destroyed by lite_rtse_network_destroy
 *   message       gets what exactly is wrong, or an empty text; it is printable ASCII, cut to `message_size` bytes with
 *                 its final zero. May be NULL.
 *   message_size  bytes at `message`; 300 hold most messages
 *
 * Errors: NULL, RANGE, FILE, FORMAT, NETWORK, ISA, MEMORY. */
LITE_RTSE_API lite_rtse_status lite_rtse_network_load(const char* path, int32_t precision, lite_rtse_network** network,
                                                      char* message, size_t message_size);

/* The same for the content of such a file, `size` bytes in memory. They are not used after the call.
 *
 * Errors: NULL, RANGE, FORMAT, NETWORK, ISA, MEMORY. */
LITE_RTSE_API lite_rtse_status lite_rtse_network_parse(const void* data, size_t size, int32_t precision,
                                                       lite_rtse_network** network, char* message, size_t message_size);

/* Streams of the network remain usable. NULL is allowed. */
LITE_RTSE_API void lite_rtse_network_destroy(lite_rtse_network* network);

/* Makes a stream at 16 kHz with one channel.
 *
 *   timing     LITE_RTSE_ALIGNED or LITE_RTSE_LIVE
 *   high_pass  1: a high-pass filter at 2 Hz comes before the network, which removes a constant offset; 0: it does not
 *   stream     gets the stream, to be destroyed by lite_rtse_stream_destroy
 *
 * Errors: NULL, RANGE, MEMORY. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_create(const lite_rtse_network* network, int32_t timing,
                                                       int32_t high_pass, lite_rtse_stream** stream);

/* Makes a stream at another sample rate, or with several channels that get one common gain.
 *
 * The network hears the signal at 16 kHz, so up to 8 kHz. What lies above passes with the gain that the network gives
 * to the highest quarter of what it hears, and is aligned with the rest. Nothing appears above half the sample rate.
 * See lite_rtse_stream_latency for the delay.
 *
 * The samples of several channels alternate: left, right, left, right. All numbers of samples in the functions below
 * are those of one channel: `in` of lite_rtse_stream_process holds `count` times `channels` numbers. The network hears
 * the channels' root mean square in each frequency. Its gains apply to all channels, so that their differences in level
 * and time remain. Channels that are to be enhanced independently need a stream each.
 *
 *   timing, high_pass, stream  as in lite_rtse_stream_create
 *   sample_rate_hz             a whole number from LITE_RTSE_LEAST_RATE_HZ to LITE_RTSE_MOST_RATE_HZ
 *   channels                   from 1 to LITE_RTSE_MOST_CHANNELS
 *
 * A stream at a rate of devices, such as 8000, 44100 and 48000, is made in some milliseconds. One at a rate that has no
 * large common factor with 16000 can take a second.
 *
 * Errors: NULL, RANGE, MEMORY. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_create_at(const lite_rtse_network* network, int32_t timing,
                                                          int32_t high_pass, int32_t sample_rate_hz, int32_t channels,
                                                          lite_rtse_stream** stream);

/* NULL is allowed. */
LITE_RTSE_API void lite_rtse_stream_destroy(lite_rtse_stream* stream);

/* The largest number of samples that lite_rtse_stream_process could write now for `count` samples. For a live stream
 * this is `count`. For an aligned stream it is at most `count` + 255 at 16 kHz, and at most `count` and the latency at
 * other rates.
 *
 * Errors: NULL, RANGE, BUSY. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_room(const lite_rtse_stream* stream, size_t count, size_t* room);

/* Takes samples and writes those that are ready.
 *
 *   in       `count` samples. NaN and infinity count as 0; lite_rtse_stream_faults counts them.
 *   count    any number, also 0; `in` may then be NULL
 *   out      the enhanced samples. It must not overlap `in`. For a live stream it can be the same pointer as `in`.
 *   room     samples that `out` has room for, at least those of lite_rtse_stream_room. If that is 0, `out` may be NULL.
 *   written  gets the number of samples in `out`
 *
 * Errors: NULL, RANGE, ROOM, OVERLAP, BUSY. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_process(lite_rtse_stream* stream, const float* in, size_t count,
                                                        float* out, size_t room, size_t* written);

/* Ends the signal: writes its remaining samples, at most those of lite_rtse_stream_latency, and resets the stream. The
 * output of an aligned stream is then as long as the input. That of a live stream is longer by the latency.
 *
 *   room     samples that `out` has room for, at least those of lite_rtse_stream_latency
 *   written  gets the number of samples in `out`; those after them can change too, up to the latency
 *
 * Errors: NULL, ROOM, BUSY. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_flush(lite_rtse_stream* stream, float* out, size_t room,
                                                      size_t* written);

/* Discards the signal so far. Settings and counts of faults are kept.
 *
 * Errors: NULL, BUSY. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_reset(lite_rtse_stream* stream);

/* Sets the share of the enhanced signal in the output, from 0 to 1. The rest is the input, aligned in time. A new
 * stream has 1. The setting takes effect at the next call of lite_rtse_stream_process or lite_rtse_stream_flush.
 *
 * Errors: NULL, RANGE. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_set_wet(lite_rtse_stream* stream, double share);

/* Sets the largest attenuation of noise in dB, from 0 to INFINITY, which means no limit. A new stream has no limit.
 * A limit of L dB mixes in the input at -L dB. The setting takes effect as that of lite_rtse_stream_set_wet.
 *
 * Errors: NULL, RANGE. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_set_attenuation_limit(lite_rtse_stream* stream, double db);

/* Sets by how much the minimum gain of the weights is lowered, in dB, from 0 to INFINITY, which means no minimum gain.
 * A new stream has 0. Weights contain a minimum gain, so that speech which the network takes for noise is not lost. A
 * lower one turns noise down by up to so much more, and more of the speech is lost. The setting takes effect from the
 * next frame of 256 samples on.
 *
 * Errors: NULL, RANGE. MIN_GAIN: `db` is above 0, and the file of weights does not state its minimum gain. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_set_extra_reduction(lite_rtse_stream* stream, double db);

/* The delay in samples at the stream's rate, from a sample's input to its enhanced sample in the output: 512 at 16 kHz,
 * which is 32 ms. At other rates from 8 kHz up it is 40.3 to 40.6 ms. The output of an aligned stream is not shifted.
 * Its enhanced samples are returned at most that much later.
 *
 * Errors: NULL. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_latency(const lite_rtse_stream* stream, size_t* samples);

/* Counts of the faults since the stream was created. All of them were repaired.
 *
 *   samples  NaN or infinite samples of the input, which count as 0
 *   frames   frames of 256 samples in which a number overflowed. They become silence.
 *
 * Errors: NULL. */
LITE_RTSE_API lite_rtse_status lite_rtse_stream_faults(const lite_rtse_stream* stream, uint64_t* samples,
                                                       uint64_t* frames);

#ifdef __cplusplus
}
#endif

#endif
