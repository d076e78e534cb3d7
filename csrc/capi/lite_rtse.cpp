// The C functions of lite_rtse.h: they check their arguments, and turn exceptions into errors.
#include "lite_rtse.h"

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <new>
#include <optional>

#include "../stream/host_stream.h"
#include "weights.h"

using namespace lite_rtse;

struct lite_rtse_network {
  std::shared_ptr<const stream::Network> network;
};

struct lite_rtse_stream {
  lite_rtse_stream(const lite_rtse_network& of, stream::Timing timing, bool high_pass, int64_t rate_hz,
                   int64_t channels)
      : stream(of.network, timing, high_pass, rate_hz, channels) {}

  stream::HostStream stream;
  mutable std::atomic<bool> busy = false;
  // Two settings whose product is the engine's. Threads may set both at the same time.
  std::atomic<double> wet = 1, limited = 1;
};
static_assert(std::atomic<double>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);
static_assert(stream::kLatency == LITE_RTSE_MOST_FLUSHED && stream::kSampleRateHz == LITE_RTSE_SAMPLE_RATE_HZ);
static_assert(stream::kLeastRateHz == LITE_RTSE_LEAST_RATE_HZ && stream::kMostRateHz == LITE_RTSE_MOST_RATE_HZ);
static_assert(stream::kMostStreamChannels == LITE_RTSE_MOST_CHANNELS);

namespace {

// The most samples of a channel that an array can have.
size_t most_samples(const lite_rtse_stream* s) {
  return std::numeric_limits<ptrdiff_t>::max() / sizeof(float) / size_t(s->stream.channels());
}

class FileError : public std::runtime_error {
  using runtime_error::runtime_error;
};
class IsaError : public std::runtime_error {
  using runtime_error::runtime_error;
};

// The use of a stream by one thread.
class Use {
 public:
  explicit Use(const lite_rtse_stream* s) : busy_(s->busy), mine_(!busy_.exchange(true, std::memory_order_acquire)) {}
  ~Use() {
    if (mine_) busy_.store(false, std::memory_order_release);
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  explicit operator bool() const { return mine_; }

 private:
  std::atomic<bool>& busy_;
  const bool mine_;
};

// Printable ASCII, cut to the size. The text may quote a damaged file.
void put(const char* text, char* message, size_t size) {
  if (!message || size == 0) return;
  size_t n = 0;
  for (; n + 1 < size && text[n]; ++n) message[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
  message[n] = 0;
}

// The status of the exception that is being handled.
lite_rtse_status status_of_exception(char* message, size_t size) {
  const auto report = [&](lite_rtse_status status, const char* text) {
    put(text, message, size);
    return status;
  };
  try {
    throw;
  } catch (const FileError& error) {
    return report(LITE_RTSE_ERROR_FILE, error.what());
  } catch (const capi::FormatError& error) {
    return report(LITE_RTSE_ERROR_FORMAT, error.what());
  } catch (const IsaError& error) {
    return report(LITE_RTSE_ERROR_ISA, error.what());
  } catch (const std::invalid_argument& error) {
    return report(LITE_RTSE_ERROR_NETWORK, error.what());
  } catch (const std::bad_alloc&) {
    return report(LITE_RTSE_ERROR_MEMORY, lite_rtse_status_text(LITE_RTSE_ERROR_MEMORY));
  } catch (const std::exception& error) {
    return report(LITE_RTSE_ERROR_INTERNAL, error.what());
  } catch (...) {
    return report(LITE_RTSE_ERROR_INTERNAL, lite_rtse_status_text(LITE_RTSE_ERROR_INTERNAL));
  }
}

lite_rtse_status refuse(lite_rtse_status status, char* message, size_t size) {
  put(lite_rtse_status_text(status), message, size);
  return status;
}

std::string read_file(const char* path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rb"), std::fclose);
  if (!file) throw FileError("the file can't be opened: " + std::string(path));
  std::string bytes;
  constexpr size_t kPiece = size_t(1) << 20;
  for (size_t got = kPiece; got == kPiece && bytes.size() <= capi::kMostBytes;) {
    const size_t before = bytes.size();
    bytes.resize(before + kPiece);
    got = std::fread(bytes.data() + before, 1, kPiece, file.get());
    bytes.resize(before + got);
  }
  if (std::ferror(file.get())) throw FileError("the file can't be read: " + std::string(path));
  return bytes;
}

const stream::Engine& engine() {
  try {
    return stream::engine();
  } catch (const std::runtime_error& error) {
    throw IsaError(error.what());
  }
}

std::optional<stream::Precision> precision_of(int32_t number) {
  if (stream::kInt16Only && number != LITE_RTSE_INT16) return std::nullopt;
  switch (number) {
    case LITE_RTSE_FLOAT32: return stream::Precision::f32;
    case LITE_RTSE_INT24: return stream::Precision::i24;
    case LITE_RTSE_INT16: return stream::Precision::i16;
    case LITE_RTSE_INT8: return stream::Precision::i8;
    default: return std::nullopt;
  }
}

// `bytes` gives the content of a safetensors file.
template <class Bytes>
lite_rtse_status make_network(Bytes bytes, int32_t precision, lite_rtse_network** network, char* message, size_t size) {
  const auto stored = precision_of(precision);
  if (!stored) return refuse(LITE_RTSE_ERROR_RANGE, message, size);
  try {
    const stream::Engine& build = engine();
    const auto content = bytes();
    const capi::Weights weights = capi::read_weights(content);
    *network = new lite_rtse_network{build.network(stream::parameters(weights.arrays, weights.options), *stored)};
    put("", message, size);
    return LITE_RTSE_OK;
  } catch (...) {
    return status_of_exception(message, size);
  }
}

bool overlap(const float* in, size_t count, const float* out, size_t written) {
  const auto a = reinterpret_cast<uintptr_t>(in), b = reinterpret_cast<uintptr_t>(out);
  return count > 0 && written > 0 && a < b + written * sizeof(float) && b < a + count * sizeof(float);
}

void apply_settings(lite_rtse_stream* s) {
  s->stream.set_wet(float(s->wet.load(std::memory_order_relaxed) * s->limited.load(std::memory_order_relaxed)));
}

}  // namespace

int32_t lite_rtse_version(void) { return LITE_RTSE_VERSION; }

const char* lite_rtse_status_text(lite_rtse_status status) {
  switch (status) {
    case LITE_RTSE_OK: return "no error";
    case LITE_RTSE_ERROR_NULL: return "a pointer is NULL that must not be";
    case LITE_RTSE_ERROR_RANGE: return "a number is outside its range";
    case LITE_RTSE_ERROR_ROOM: return "the output has too little room";
    case LITE_RTSE_ERROR_OVERLAP: return "input and output overlap";
    case LITE_RTSE_ERROR_BUSY: return "another thread is using the stream";
    case LITE_RTSE_ERROR_FILE: return "the file can't be opened or read";
    case LITE_RTSE_ERROR_FORMAT: return "the weights are no safetensors file, or a damaged one";
    case LITE_RTSE_ERROR_NETWORK: return "the weights are those of another network";
    case LITE_RTSE_ERROR_ISA: return "LITE_RTSE_ISA names no instruction set that this processor can run";
    case LITE_RTSE_ERROR_MEMORY: return "the system refused to give memory";
    case LITE_RTSE_ERROR_INTERNAL: return "a fault of the library";
    case LITE_RTSE_ERROR_MIN_GAIN: return "the weights do not state their minimum gain";
    default: return "unknown status";
  }
}

lite_rtse_status lite_rtse_network_load(const char* path, int32_t precision, lite_rtse_network** network, char* message,
                                        size_t message_size) {
  if (network) *network = nullptr;
  if (!path || !network) return refuse(LITE_RTSE_ERROR_NULL, message, message_size);
  return make_network([&] { return read_file(path); }, precision, network, message, message_size);
}

lite_rtse_status lite_rtse_network_parse(const void* data, size_t size, int32_t precision, lite_rtse_network** network,
                                         char* message, size_t message_size) {
  if (network) *network = nullptr;
  if (!data || !network) return refuse(LITE_RTSE_ERROR_NULL, message, message_size);
  const std::string_view bytes(static_cast<const char*>(data), size);
  return make_network([&] { return bytes; }, precision, network, message, message_size);
}

void lite_rtse_network_destroy(lite_rtse_network* network) { delete network; }

lite_rtse_status lite_rtse_stream_create(const lite_rtse_network* network, int32_t timing, int32_t high_pass,
                                         lite_rtse_stream** stream) {
  return lite_rtse_stream_create_at(network, timing, high_pass, LITE_RTSE_SAMPLE_RATE_HZ, 1, stream);
}

lite_rtse_status lite_rtse_stream_create_at(const lite_rtse_network* network, int32_t timing, int32_t high_pass,
                                            int32_t sample_rate_hz, int32_t channels, lite_rtse_stream** stream) {
  if (stream) *stream = nullptr;
  if (!network || !stream) return LITE_RTSE_ERROR_NULL;
  if (timing != LITE_RTSE_ALIGNED && timing != LITE_RTSE_LIVE) return LITE_RTSE_ERROR_RANGE;
  if (high_pass != 0 && high_pass != 1) return LITE_RTSE_ERROR_RANGE;
  if (sample_rate_hz < LITE_RTSE_LEAST_RATE_HZ || sample_rate_hz > LITE_RTSE_MOST_RATE_HZ) return LITE_RTSE_ERROR_RANGE;
  if (channels < 1 || channels > LITE_RTSE_MOST_CHANNELS) return LITE_RTSE_ERROR_RANGE;
  try {
    const auto kind = timing == LITE_RTSE_LIVE ? stream::Timing::live : stream::Timing::aligned;
    *stream = new lite_rtse_stream(*network, kind, high_pass == 1, sample_rate_hz, channels);
    return LITE_RTSE_OK;
  } catch (...) {
    return status_of_exception(nullptr, 0);
  }
}

void lite_rtse_stream_destroy(lite_rtse_stream* stream) { delete stream; }

lite_rtse_status lite_rtse_stream_room(const lite_rtse_stream* stream, size_t count, size_t* room) {
  if (room) *room = 0;
  if (!stream || !room) return LITE_RTSE_ERROR_NULL;
  if (count > most_samples(stream)) return LITE_RTSE_ERROR_RANGE;
  const Use use(stream);
  if (!use) return LITE_RTSE_ERROR_BUSY;
  *room = size_t(stream->stream.room(int64_t(count)));
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_process(lite_rtse_stream* stream, const float* in, size_t count, float* out,
                                          size_t room, size_t* written) {
  if (written) *written = 0;
  if (!stream || !written || (!in && count > 0)) return LITE_RTSE_ERROR_NULL;
  if (count > most_samples(stream)) return LITE_RTSE_ERROR_RANGE;
  const Use use(stream);
  if (!use) return LITE_RTSE_ERROR_BUSY;
  stream::HostStream& s = stream->stream;
  const size_t needed = size_t(s.room(int64_t(count))), channels = size_t(s.channels());
  if (!out && needed > 0) return LITE_RTSE_ERROR_NULL;
  if (room < needed) return LITE_RTSE_ERROR_ROOM;
  // A live stream reads each sample before it writes to the sample's place.
  const bool in_place = in == out && s.timing() == stream::Timing::live;
  if (!in_place && overlap(in, count * channels, out, needed * channels)) return LITE_RTSE_ERROR_OVERLAP;
  apply_settings(stream);
  *written = size_t(s.feed(in, int64_t(count), out));
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_flush(lite_rtse_stream* stream, float* out, size_t room, size_t* written) {
  if (written) *written = 0;
  if (!stream || !written || !out) return LITE_RTSE_ERROR_NULL;
  if (room < size_t(stream->stream.latency())) return LITE_RTSE_ERROR_ROOM;
  const Use use(stream);
  if (!use) return LITE_RTSE_ERROR_BUSY;
  apply_settings(stream);
  *written = size_t(stream->stream.flush(out));
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_reset(lite_rtse_stream* stream) {
  if (!stream) return LITE_RTSE_ERROR_NULL;
  const Use use(stream);
  if (!use) return LITE_RTSE_ERROR_BUSY;
  stream->stream.reset();
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_set_wet(lite_rtse_stream* stream, double share) {
  if (!stream) return LITE_RTSE_ERROR_NULL;
  if (!(share >= 0 && share <= 1)) return LITE_RTSE_ERROR_RANGE;
  stream->wet.store(share, std::memory_order_relaxed);
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_set_attenuation_limit(lite_rtse_stream* stream, double db) {
  if (!stream) return LITE_RTSE_ERROR_NULL;
  if (!(db >= 0)) return LITE_RTSE_ERROR_RANGE;
  stream->limited.store(1 - std::pow(10.0, -db / 20), std::memory_order_relaxed);
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_set_extra_reduction(lite_rtse_stream* stream, double db) {
  if (!stream) return LITE_RTSE_ERROR_NULL;
  if (!(db >= 0)) return LITE_RTSE_ERROR_RANGE;
  stream::HostStream& s = stream->stream;
  if (db > 0 && !s.network()->config().options.min_gain.known) return LITE_RTSE_ERROR_MIN_GAIN;
  s.set_min_gain(float(std::pow(10.0, -db / 20)));
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_latency(const lite_rtse_stream* stream, size_t* samples) {
  if (samples) *samples = 0;
  if (!stream || !samples) return LITE_RTSE_ERROR_NULL;
  *samples = size_t(stream->stream.latency());
  return LITE_RTSE_OK;
}

lite_rtse_status lite_rtse_stream_faults(const lite_rtse_stream* stream, uint64_t* samples, uint64_t* frames) {
  if (samples) *samples = 0;
  if (frames) *frames = 0;
  if (!stream || !samples || !frames) return LITE_RTSE_ERROR_NULL;
  const stream::Faults faults = stream->stream.faults();
  *samples = uint64_t(faults.samples);
  *frames = uint64_t(faults.frames);
  return LITE_RTSE_OK;
}
