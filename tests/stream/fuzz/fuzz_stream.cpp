// Fuzzing of the streaming engine with libFuzzer: a script of calls, read from the fuzzer's bytes, on four streams
// of one small network, two of which have other rates and several channels. Whatever the samples, sizes and saved
// states are, nothing may crash, and what comes out is finite.
//
//   a byte   what follows
//   0        feed: a length (2 bytes), then samples (4 bytes each, any bit pattern) as far as the bytes go, then zeros
//   1        flush
//   2        reset
//   3        save one stream and load another from it, one number changed: place (4 bytes), value (4 bytes)
//   4        the share of the enhanced signal (1 byte)
//   5        two streams at once: lengths (2 bytes each), samples as above
//   6        weights: one array's name or shape changed (see below)
//
// The byte's upper half chooses the stream.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "../../../csrc/stream/host_stream.h"
#include "../native/plain_network.h"

using namespace lite_rtse::stream;

namespace {

class Script {
 public:
  Script(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  bool done() const { return left_ == 0; }

  // The next bytes as a T; zeros where they end.
  template <class T>
  T next() {
    T value{};
    const size_t n = std::min(sizeof(T), left_);
    std::memcpy(&value, at_, n);
    at_ += n;
    left_ -= n;
    return value;
  }
  std::vector<float> samples(int64_t channels) {
    std::vector<float> v(next<uint16_t>() % 3000 * channels);
    for (float& x : v) x = next<float>();
    return v;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

void require(bool ok) {
  if (!ok) std::abort();
}
void require_finite(const std::vector<float>& v, int64_t count) {
  require(count <= int64_t(v.size()));
  for (int64_t i = 0; i < count; ++i) require(std::isfinite(v[i]));
}

const Weights& weights() {
  static const Weights w({4, 2, true});
  return w;
}

void feed_one(HostStream& s, Script& script) {
  const std::vector<float> in = script.samples(s.channels());
  const int64_t count = int64_t(in.size()) / s.channels();
  std::vector<float> out(s.room(count) * s.channels());
  require_finite(out, s.feed(in.data(), count, out.data()) * s.channels());
}

void feed_both(HostStream* const* streams, Script& script) {
  const std::vector<float> in[2] = {script.samples(streams[0]->channels()), script.samples(streams[1]->channels())};
  std::vector<float> out[2];
  const float* from[2];
  float* to[2];
  int64_t count[2], written[2];
  for (int i = 0; i < 2; ++i) {
    count[i] = int64_t(in[i].size()) / streams[i]->channels();
    out[i].resize(streams[i]->room(count[i]) * streams[i]->channels());
    from[i] = in[i].data();
    to[i] = out[i].data();
  }
  feed(streams, from, count, to, written, 2);
  for (int i = 0; i < 2; ++i) require_finite(out[i], written[i] * streams[i]->channels());
}

void save_and_load(const HostStream& from, HostStream& to, Script& script) {
  std::vector<float> state(from.size());
  from.save(state.data());
  state[script.next<uint32_t>() % state.size()] = script.next<float>();
  try {
    to.load(state.data(), int64_t(state.size()));
  } catch (const std::invalid_argument&) {
  }
}

// Arrays that are no checkpoint: a name lost or misspelt, a shape of other numbers over data that is large enough.
void change_weights(Script& script) {
  auto arrays = weights().arrays();
  auto chosen = arrays.begin();
  std::advance(chosen, script.next<uint8_t>() % arrays.size());
  std::vector<float> data;
  if (script.next<uint8_t>() % 4 == 0) {
    arrays.erase(chosen);
  } else {
    int64_t size = 1;
    for (int64_t& n : chosen->second.shape)
      if (script.next<uint8_t>() % 2) n = script.next<uint16_t>();
    for (int64_t n : chosen->second.shape) size = size * n > 1 << 22 ? 1 << 22 : size * n;
    data.assign(size, script.next<float>());
    chosen->second.data = data.data();
  }
  try {
    parameters(arrays, {});
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::shared_ptr<const Network> network =
      engine().network(parameters(weights().arrays(), {1, false, {true, 0.1, 0.2, 0.4}}), Precision::f32);
  Script script(data, size);
  HostStream first(network, Timing::aligned), second(network, Timing::live);
  HostStream third(network, Timing::aligned, true, 44100), fourth(network, Timing::live, true, 8000, 3);
  HostStream* const streams[4] = {&first, &second, &third, &fourth};
  while (!script.done()) {
    const uint8_t byte = script.next<uint8_t>();
    HostStream& s = *streams[(byte >> 4) % 4];
    std::vector<float> rest(s.latency() * s.channels());
    switch (byte % 16) {
      case 0: feed_one(s, script); break;
      case 1: require_finite(rest, s.flush(rest.data()) * s.channels()); break;
      case 2: s.reset(); break;
      case 3: save_and_load(*streams[script.next<uint8_t>() % 4], s, script); break;
      case 4: s.set_wet(float(script.next<uint8_t>()) / 255), s.set_min_gain(float(byte >> 4) / 15); break;
      case 5: feed_both(streams + (byte >> 4) % 3, script); break;
      case 6: change_weights(script); break;
      default: return 0;
    }
  }
  return 0;
}
