#include "test_rates.h"

#include <limits>
#include <numeric>
#include <stdexcept>

#include "../../../csrc/stream/host_stream.h"
#include "harness.h"

namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr int64_t kRates[] = {8000, 11025, 12345, 22050, 32000, 44100, 44101, 48000, 96000, 192000};

std::string at(int64_t rate) { return std::to_string(rate) + " Hz: "; }

// A network whose gain in bin f is gains(f), whatever the signal.
template <class Gains>
std::shared_ptr<const Network> fixed(Gains gains) {
  Weights weights({4, 2, true});
  for (const char* name : {"to_mag", "to_real", "to_imag", "fc1"})
    for (const char* part : {".weight", ".bias"})
      std::fill(weights[std::string(name) + part].begin(), weights[std::string(name) + part].end(), 0.0f);
  for (int64_t f = 0; f < kBins; ++f) {
    const double gain = std::clamp(gains(f), 1e-30, 1 - 1e-7);
    weights["fc1.bias"][f] = float(std::log(gain / (1 - gain)));
  }
  return make(weights);
}

Samples tone(double hz, int64_t rate, int64_t count) {
  Samples samples(count);
  for (int64_t i = 0; i < count; ++i) samples[i] = float(0.5 * std::sin(2 * kPi * hz * double(i) / double(rate)));
  return samples;
}

double largest(const Samples& v, int64_t first, int64_t last) {
  double most = 0;
  for (int64_t i = first; i < last; ++i) most = std::max(most, std::abs(double(v[i])));
  return most;
}

// The largest difference of `got`, from `first` to `last`, to `factor` times the wanted samples.
double difference(const Samples& got, const Samples& want, int64_t first, int64_t last, double factor = 1) {
  double most = 0;
  for (int64_t i = first; i < last; ++i) most = std::max(most, std::abs(got[i] - factor * want[i]));
  return most;
}

// What a conversion from one rate to the other makes of a tone, after the time that its filter takes to fill.
void test_resampler(int64_t rate, bool there) {
  const int64_t from = there ? rate : kSampleRateHz, to = there ? kSampleRateHz : rate;
  const double nyquist = double(std::min(from, to)) / 2, pass = nyquist - 600;
  const auto phases = conversion(from, to);
  const int64_t count = from / 8;
  for (double hz : {0.02, 0.3, 0.7, 0.9, 1.0, 1.1, 1.25, 1.7, 2.3}) {
    const double frequency = hz <= 1 ? hz * pass : nyquist * hz / 1.1;
    if (frequency >= double(from) / 2) break;
    Resampler resampler(phases, 0, count);
    const Samples in = tone(frequency, from, count);
    std::copy(in.begin(), in.end(), resampler.push(count));
    Samples out;
    while (resampler.ready()) out.push_back(resampler.pull());
    const int64_t edge = to / 100, size = int64_t(out.size());
    for (int64_t first : {int64_t(0), int64_t(1), size / 3, size - 7, size + from}) {
      Samples part(7);
      resample(phases, in.data(), count, first, 7, part.data());
      const bool behind = first >= size;
      expect(behind ? largest(part, 0, 7) == 0 : std::equal(part.begin(), part.end(), out.begin() + first),
             at(rate) + "a part of a whole signal, from sample " + std::to_string(first));
    }
    const Samples same = tone(frequency, to, size);
    const std::string name = at(rate) + (there ? "to" : "from") + " 16 kHz, " + std::to_string(frequency) + " Hz: ";
    if (hz <= 1) {  // as it was, in its place: ripple, images and aliases together are below -80 dB
      const double error = difference(out, same, edge, size) / 0.5;
      expect(error < 1e-4, name + "error " + std::to_string(error));
    } else {
      const double left = largest(out, edge, size) / 0.5;
      expect(left < 1e-4, name + std::to_string(left) + " is left");
    }
  }
}

// Between the two passbands of the filters no frequency comes through as another one: images of speech, too.
void test_images() {
  for (int64_t rate : {44100, 48000, 192000}) {
    const int64_t common = std::gcd(rate, kSampleRateHz);
    const auto phases = std::make_shared<const Phases>(
        rate / common, kSampleRateHz / common, double(rate) * double(kSampleRateHz / common), LowPass{8000, 600});
    Resampler resampler(phases, 0, 4000);
    const Samples in = tone(7900, kSampleRateHz, 4000);
    std::copy(in.begin(), in.end(), resampler.push(4000));
    Samples out;
    while (resampler.ready()) out.push_back(resampler.pull());
    // The image of 7.9 kHz is at 8.1 kHz.
    double real = 0, imag = 0;
    const int64_t edge = rate / 100, size = (int64_t(out.size()) - edge) / (rate / 100) * (rate / 100);
    for (int64_t i = 0; i < size; ++i) {
      const double window = 1 - std::cos(2 * kPi * double(i) / double(size)),
                   angle = 2 * kPi * 8100 * double(i) / double(rate);
      real += window * out[edge + i] * std::cos(angle);
      imag += window * out[edge + i] * std::sin(angle);
    }
    const double image = 2 * std::hypot(real, imag) / double(size) / 0.5;
    expect(image < 1e-4, at(rate) + "image " + std::to_string(image));
  }
}

// If the network passes everything, the output is the input, later by the latency.
void test_nothing_is_lost(const std::shared_ptr<const Network>& network, int64_t rate) {
  const int64_t count = rate / 6;
  const Samples in = noise(count);
  for (Timing timing : {Timing::aligned, Timing::live}) {
    HostStream s(network, timing, true, rate);
    s.set_wet(0);
    const int64_t late = timing == Timing::live ? s.latency() : 0;
    Samples want(late);
    want.insert(want.end(), in.begin(), in.end());
    for (int64_t size : {1, 480, 7001}) {
      const Samples out = run(s, in, size);
      expect(out.size() == want.size(), at(rate) + "length");
      const double error = difference(out, want, 0, int64_t(std::min(out.size(), want.size())));
      expect(error < 1e-6, at(rate) + "not mixed in, error " + std::to_string(error));
    }
  }
}

// Gains that the network gives to all bins alike hold for the whole band, and both bands are in their places.
void test_bands(int64_t rate) {
  const int64_t count = rate / 4, settled = rate / 20;
  const double top = double(std::min(rate, kSampleRateHz)) / 2;
  const auto half = fixed([](int64_t) { return 0.5; });
  const auto low = fixed([&](int64_t f) { return f * 31.25 < top * 0.7 ? 1.0 : 0.0; });
  const Samples in = noise(count);
  HostStream s(half, Timing::aligned, false, rate);
  const double error = difference(run(s, in, 333), in, settled, count, 0.5) / 0.5;
  expect(error < 1e-3, at(rate) + "half of all, error " + std::to_string(error));
  HostStream live(low, Timing::live, false, rate);
  for (double hz : {300.0, 1000.0, 0.6 * top}) {
    const Samples sound = tone(hz, rate, count);
    Samples out = run(live, sound, 100);
    out.erase(out.begin(), out.begin() + live.latency());
    const double off = difference(out, sound, settled, count - settled) / 0.5;
    expect(off < 1e-3, at(rate) + "a low tone is in its place, error " + std::to_string(off));
  }
  for (double hz : {0.8 * top, 0.95 * top, 1.2 * top, 1.05 * top}) {
    if (hz >= double(rate) / 2) continue;
    const double left = largest(run(live, tone(hz, rate, count), 100), settled + live.latency(), count) / 0.5;
    expect(left < 2e-3,
           at(rate) + "what the network takes is gone, of " + std::to_string(hz) + " Hz " + std::to_string(left));
  }
}

// The impulse comes out where the latency says. The latency is no longer than the signal needs.
void test_latency(const std::shared_ptr<const Network>& network, int64_t rate) {
  HostStream live(network, Timing::live, true, rate), aligned(network, Timing::aligned, true, rate);
  const double ms = 1e3 * double(live.latency()) / double(rate);
  expect(ms > 40.2 && ms < 40.7, at(rate) + std::to_string(ms) + " ms");
  Samples impulse(rate / 4);
  impulse[rate / 10] = 1;
  const auto passing = fixed([](int64_t) { return 1.0; });
  HostStream s(passing, Timing::live, false, rate);
  const Samples out = run(s, impulse, 64);
  const auto peak = std::max_element(out.begin(), out.end()) - out.begin();
  expect(peak == rate / 10 + s.latency(), at(rate) + "the impulse is at " + std::to_string(peak));
  expect(std::abs(out[peak] - 1) < 1e-3, at(rate) + "and is whole");
  int64_t held = 0, most = 0;
  Samples block(aligned.latency() + 2);
  for (int64_t i = 0; i < rate / 4; ++i) {
    const float sample = 0.1f;
    held += 1 - aligned.feed(&sample, 1, block.data());
    most = std::max(most, held);
  }
  expect(most <= live.latency() && most >= live.latency() - 1, at(rate) + std::to_string(most) + " samples are held");
}

// Cuts, batches and saved states of streams with two channels.
void test_cuts_and_states(const std::shared_ptr<const Network>& network, int64_t rate, Timing timing) {
  constexpr int64_t kChannels = 2;
  const int64_t count = rate / 5, middle = count / 3;
  const Samples in = noise(kChannels * count);
  HostStream first(network, timing, true, rate, kChannels), second(network, timing, true, rate, kChannels);
  const Samples whole = run(first, in, count);
  for (int64_t size : {100, 481}) expect(run(first, in, size) == whole, at(rate) + "cuts leave no trace");
  Samples out = feed(first, Samples(in.begin(), in.begin() + kChannels * middle), 77);
  Samples state(first.size());
  first.save(state.data());
  second.load(state.data(), int64_t(state.size()));
  const Samples rest = run(second, Samples(in.begin() + kChannels * middle, in.end()), 333);
  out.insert(out.end(), rest.begin(), rest.end());
  expect(out == whole, at(rate) + "a restored stream goes on");
  int64_t refused = 0, tried = 0;
  for (int64_t place = 0; place < int64_t(state.size()); place += place < 20 ? 1 : 997, ++tried) {
    Samples changed = state;
    changed[place] = std::numeric_limits<float>::quiet_NaN();
    try {
      second.load(changed.data(), int64_t(changed.size()));
    } catch (const std::invalid_argument&) {
      ++refused;
    }
  }
  expect(refused == tried, at(rate) + "NaN in a state is refused");
}

void test_batch(const std::shared_ptr<const Network>& network) {
  constexpr int64_t kMany = 20;
  std::vector<std::unique_ptr<HostStream>> streams, alone;
  std::vector<HostStream*> which;
  std::vector<Samples> inputs, outputs;
  std::vector<const float*> from;
  std::vector<float*> to;
  std::vector<int64_t> counts, written(kMany);
  for (int64_t i = 0; i < kMany; ++i) {
    const int64_t rate = i % 4 == 0 ? kSampleRateHz : kRates[i % 10], channels = 1 + i % 3, count = 3000 + 100 * i;
    const Timing timing = i % 2 ? Timing::live : Timing::aligned;
    streams.push_back(std::make_unique<HostStream>(network, timing, true, rate, channels));
    alone.push_back(std::make_unique<HostStream>(network, timing, true, rate, channels));
    inputs.push_back(noise(channels * count, unsigned(i)));
    outputs.emplace_back(channels * streams[i]->room(count));
    counts.push_back(count);
    which.push_back(streams[i].get());
  }
  for (int64_t i = 0; i < kMany; ++i) {
    from.push_back(inputs[i].data());
    to.push_back(outputs[i].data());
  }
  feed(which.data(), from.data(), counts.data(), to.data(), written.data(), kMany);
  for (int64_t i = 0; i < kMany; ++i) {
    outputs[i].resize(written[i] * streams[i]->channels());
    expect(outputs[i] == feed(*alone[i], inputs[i], 500), "a batch of other rates is its streams");
  }
}

// Equal channels are what one channel is; a quieter one stays as much quieter.
void test_linked(const std::shared_ptr<const Network>& network, int64_t rate) {
  const int64_t count = rate / 4;
  const Samples in = noise(count);
  Samples equal(2 * count), quieter(2 * count);
  for (int64_t i = 0; i < count; ++i) {
    equal[2 * i] = equal[2 * i + 1] = quieter[2 * i] = in[i];
    quieter[2 * i + 1] = -0.25f * in[i];
  }
  HostStream mono(network, Timing::aligned, true, rate), stereo(network, Timing::aligned, true, rate, 2);
  const Samples one = run(mono, in, 100), both = run(stereo, equal, 100), two = run(stereo, quieter, 100);
  double off = 0, image = 0;
  for (int64_t i = 0; i < count; ++i) {
    off = std::max({off, std::abs(double(both[2 * i] - one[i])), std::abs(double(both[2 * i + 1] - one[i]))});
    image = std::max(image, std::abs(double(two[2 * i + 1] + 0.25f * two[2 * i])));
  }
  expect(off < 1e-6 && largest(one, 0, count) > 0.01, at(rate) + "equal channels, error " + std::to_string(off));
  expect(image < 1e-6, at(rate) + "the levels' ratio stays, error " + std::to_string(image));
}

// Numbers that are not finite count as zero. The loudest numbers leave nothing that is not finite.
void test_bad_samples(const std::shared_ptr<const Network>& network, int64_t rate) {
  Samples bad = noise(rate / 10), loud(rate / 10);
  for (size_t i = 300; i < 310; ++i) bad[i] = i % 2 ? std::numeric_limits<float>::quiet_NaN() : 1.0f / 0.0f;
  Samples zeroed = bad;
  for (size_t i = 300; i < 310; ++i) zeroed[i] = 0;
  for (size_t i = 0; i < loud.size(); ++i) loud[i] = i % 3 ? 3e38f : -3e38f;
  HostStream s(network, Timing::live, true, rate);
  expect(run(s, bad, 50) == run(s, zeroed, 50) && s.faults().samples == 10, at(rate) + "bad samples are zero");
  for (float wet : {0.0f, 0.5f, 1.0f}) {
    s.set_wet(wet);
    const Samples out = run(s, loud, 50);
    expect(std::all_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); }), at(rate) + "all is finite");
  }
  s.set_wet(1);
  expect(run(s, zeroed, 50) == run(s, bad, 50), at(rate) + "nothing is left behind");
}

}  // namespace

void test_rates(bool few) {
  const auto network = make(Weights({4, 2, true}));
  for (int64_t rate : few ? std::vector<int64_t>{8000, 44101, 48000} : std::vector<int64_t>(kRates, std::end(kRates))) {
    for (bool there : {true, false}) test_resampler(rate, there);
    test_nothing_is_lost(network, rate);
    test_bands(rate);
    test_latency(network, rate);
  }
  test_images();
  for (int64_t rate : {int64_t(8000), kSampleRateHz, int64_t(44100), int64_t(48000)}) {
    for (Timing timing : {Timing::aligned, Timing::live}) test_cuts_and_states(network, rate, timing);
    test_linked(network, rate);
  }
  test_bad_samples(network, 8000);
  test_bad_samples(network, 48000);
  test_batch(network);
}
