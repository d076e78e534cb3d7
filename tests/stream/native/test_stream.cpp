// The streaming engine without Python: against plain loops, for sanitizers, and for what it must not do while it works.
//
//   test_stream [threads | rates | HOURS]
//
// threads: only what more than one thread takes part in. rates: all, but at three sample rates in place of ten.
// HOURS: instead of the tests, so many of sound through one stream, without an allocation or a system call.
//
// Prints what failed and how many; the exit status is 1 if any did, and 77 where this processor lacks the instruction
// set that LITE_RTSE_ISA names.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/seccomp.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>

#include "allocations.h"
#include "harness.h"
#include "test_min_gain.h"
#include "test_rates.h"

namespace {

void test_transform() {
  const Samples x = noise(kWindow);
  Samples re(kBins), im(kBins), back(kWindow);
  engine().transform(x.data(), re.data(), im.data());
  Doubles want_re(kBins), want_im(kBins);
  for (int64_t f = 0; f < kBins; ++f)
    for (int64_t n = 0; n < kWindow; ++n) {
      const double angle = 2 * 3.14159265358979323846 * double(f * n % kWindow) / kWindow;
      want_re[f] += x[n] * std::cos(angle);
      want_im[f] -= x[n] * std::sin(angle);
    }
  expect(relative_error(re, want_re) < 3e-7 && relative_error(im, want_im) < 3e-7, "transform");
  engine().inverse(re.data(), im.data(), back.data());
  expect(relative_error(back, Doubles(x.begin(), x.end())) < 3e-7, "inverse transform");
  im[0] = 5, im[kBins - 1] = -7;  // what no real signal has
  engine().inverse(re.data(), im.data(), back.data());
  expect(relative_error(back, Doubles(x.begin(), x.end())) < 3e-7, "inverse transform, imaginary ends");
}

void test_against_plain_loops(const Config& c, int64_t frames) {
  const Weights weights(c);
  const Samples in = noise(frames * kHop);
  PlainNetwork plain(weights);
  Doubles want;
  for (int64_t t = 0; t < frames; ++t) {
    const Doubles out = plain.step(Samples(in.begin() + t * kHop, in.begin() + (t + 1) * kHop));
    if (t > 0) want.insert(want.end(), out.begin(), out.end());
  }
  const std::string name =
      std::to_string(c.channels) + " channels of order " + std::to_string(c.order) + (c.depthwise ? "" : ", full 3x3");
  const struct {
    Precision precision;
    const char* name;
    double limit;
  } kinds[] = {{Precision::f32, "float32", 1e-5},
               {Precision::i24, "int24", 1e-5},
               {Precision::i16, "int16", 1e-3},
               {Precision::i8, "int8", 0.2}};
  for (const auto& kind : kinds) {
    Stream s(make(weights, kind.precision), Timing::aligned, false);
    const double error = relative_error(feed(s, in, 100), want);
    expect(error < kind.limit, name + ", " + kind.name + ": error " + std::to_string(error));
  }
}

void test_cuts_batches_and_states(const std::shared_ptr<const Network>& network) {
  const Samples in = noise(9 * kHop + 77);
  for (Timing timing : {Timing::aligned, Timing::live}) {
    Stream s(network, timing);
    const Samples whole = run(s, in, int64_t(in.size()));
    expect(whole.size() == in.size() + (timing == Timing::live ? kLatency : 0), "length");
    for (int64_t size : {1, 100, 255, 256, 257, 1000}) expect(run(s, in, size) == whole, "cuts leave no trace");
    Stream first(network, timing), second(network, timing);
    const int64_t at = 3 * kHop + 50;
    feed(first, Samples(in.begin(), in.begin() + at), at);
    Samples state(first.size());
    first.save(state.data());
    second.load(state.data(), int64_t(state.size()));
    const Samples rest(in.begin() + at, in.end());
    expect(run(first, rest, 300) == run(second, rest, 400), "a restored stream goes on");
  }
  constexpr int64_t kMany = kMostStreams + 3;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Samples> inputs, outputs;
  std::vector<Stream*> which;
  std::vector<const float*> from;
  std::vector<float*> to;
  std::vector<int64_t> count, written(kMany);
  for (int64_t i = 0; i < kMany; ++i) {
    streams.push_back(std::make_unique<Stream>(network, Timing::aligned));
    inputs.push_back(noise(5 * kHop + 50 * i, unsigned(i)));
    outputs.emplace_back(streams[i]->room(int64_t(inputs[i].size())));
  }
  for (int64_t i = 0; i < kMany; ++i) {
    which.push_back(streams[i].get());
    from.push_back(inputs[i].data());
    to.push_back(outputs[i].data());
    count.push_back(int64_t(inputs[i].size()));
  }
  feed(which.data(), from.data(), count.data(), to.data(), nullptr, written.data(), kMany);
  for (int64_t i = 0; i < kMany; ++i) {
    Stream alone(network, Timing::aligned);
    outputs[i].resize(written[i]);
    expect(outputs[i] == feed(alone, inputs[i], 123), "a batch is its streams");
  }
}

// The network does not hear a constant; what is mixed in holds it.
void test_high_pass(const std::shared_ptr<const Network>& network) {
  Samples in = noise(40 * kHop), lifted = in;
  for (float& x : lifted) x += 0.25f;
  Stream s(network, Timing::aligned);
  const Samples heard = run(s, in, 100);
  expect(relative_error(run(s, lifted, 100), Doubles(heard.begin(), heard.end())) < 1e-5, "a constant changes nothing");
  const Samples constant = run(s, Samples(3 * kHop, 0.7f), 100);
  expect(std::all_of(constant.begin(), constant.end(), [](float x) { return x == 0; }), "a constant alone is silence");
  s.set_wet(0);
  expect(relative_error(run(s, lifted, 100), Doubles(lifted.begin(), lifted.end())) < 1e-6, "but it is mixed in");
}

// Settings and counters of a stream, while another thread feeds it.
void test_settings_from_another_thread(const std::shared_ptr<const Network>& network) {
  Stream s(network, Timing::live);
  Samples bad = noise(20 * kHop);
  bad[5] = std::numeric_limits<float>::quiet_NaN();
  std::thread feeder([&] { feed(s, bad, 50); });
  int64_t seen = 0;
  for (int i = 0; i < 1000; ++i) {
    s.set_wet(float(i % 2));
    s.set_min_gain(float(i % 3) / 2);
    seen = std::max(seen, s.faults().samples);
  }
  feeder.join();
  expect(seen <= 1 && s.faults().samples == 1, "faults can be read from another thread");
}

// Each thread has its stream; they share the network.
void test_threads(const std::shared_ptr<const Network>& network) {
  const Samples in = noise(6 * kHop);
  Stream s(network, Timing::aligned);
  const Samples whole = run(s, in, 100);
  std::vector<std::thread> pool;
  std::vector<Samples> results(4);
  for (Samples& result : results)
    pool.emplace_back([&] {
      Stream own(network, Timing::aligned);
      result = run(own, in, 77);
    });
  for (std::thread& t : pool) t.join();
  for (const Samples& result : results) expect(result == whole, "threads do not disturb one another");
}

void test_faults(const std::shared_ptr<const Network>& network) {
  Samples bad = noise(4 * kHop);
  for (size_t i = 300; i < 310; ++i) bad[i] = i % 2 ? std::numeric_limits<float>::quiet_NaN() : 1.0f / 0.0f;
  Samples zeroed = bad;
  for (size_t i = 300; i < 310; ++i) zeroed[i] = 0;
  Stream s(network, Timing::live), clean(network, Timing::live);
  expect(run(s, bad, 50) == run(clean, zeroed, 50), "samples that are not finite are zero");
  expect(s.faults().samples == 10 && s.faults().frames == 0, "and counted");
  Samples loud(4 * kHop, 3e38f);
  for (size_t i = 0; i < loud.size(); i += 2) loud[i] = -3e38f;
  feed(s, loud, 100);
  expect(s.faults().frames > 0, "overflows are counted");
  s.reset();
  expect(run(s, zeroed, 50) == run(clean, zeroed, 50), "and leave nothing behind");
}

void test_states_that_do_not_fit(const std::shared_ptr<const Network>& network) {
  Stream s(network, Timing::aligned), other(network, Timing::live);
  Samples state(s.size());
  const auto refused = [&](const Samples& from) {
    try {
      s.load(from.data(), int64_t(from.size()));
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  other.save(state.data());
  expect(refused(state), "a state of another timing is refused");
  s.save(state.data());
  expect(!refused(state), "a state of one's own is not");
  for (int i : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 18, 100}) {
    Samples changed = state;
    changed[i] = std::numeric_limits<float>::quiet_NaN();
    expect(refused(changed), "NaN in a state is refused");
  }
  expect(refused(Samples(state.begin(), state.end() - 1)), "a short state is refused");
  Stream without(network, Timing::aligned, false);
  without.save(state.data());
  expect(refused(state), "a state without high-pass is refused");
  for (float weight : {-1.0f, 1e6f}) {
    s.save(state.data());
    state[12] = weight;
    expect(refused(state), "a high-pass that can't be is refused");
  }
}

void test_missing_and_wrong_weights() {
  const Weights weights({4, 2, true, {0.3f, true}});
  const auto refused = [&](const auto& arrays, const std::string& name) {
    try {
      parameters(arrays, weights.config.options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what()).find(name) != std::string::npos;
    }
    return false;
  };
  for (const auto& entry : weights.arrays()) {
    auto arrays = weights.arrays();
    arrays.erase(entry.first);
    expect(refused(arrays, entry.first), entry.first + " missing is refused by name");
    arrays = weights.arrays();
    arrays[entry.first].shape.push_back(1);
    expect(refused(arrays, entry.first), entry.first + " of another shape is refused by name");
  }
}

// ---- What it must not do while it works ----------------------------------------------------------------------------

void work(std::vector<std::unique_ptr<Stream>>& streams, const Samples& in, Samples& out) {
  Stream* which[4];
  const float* from[4];
  float* to[4];
  int64_t count[4], written[4];
  for (int i = 0; i < 4; ++i) {
    which[i] = streams[i].get();
    from[i] = in.data();
    to[i] = out.data() + i * int64_t(out.size() / 4);
    count[i] = int64_t(in.size());
  }
  for (int i = 0; i < 4; ++i) which[i]->set_min_gain(float(i) / 4);
  for (int i = 0; i < 4; ++i) written[i] = which[i]->feed(from[i], count[i], to[i]);
  feed(which, from, count, to, nullptr, written, 4);
  which[0]->flush(to[0]);
  which[1]->reset();
}

void test_no_allocation_no_system_call(const std::shared_ptr<const Network>& network) {
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(std::make_unique<Stream>(network, i ? Timing::aligned : Timing::live));
  const Samples in = noise(5 * kHop + 11);
  Samples out(4 * (in.size() + kLatency));
  const int64_t before = allocations();
  work(streams, in, out);
  const int64_t after = allocations();  // before `expect` makes a string
  expect(after == before, "the first frames allocate nothing");
  if (before < 0) std::printf("allocations: not counted in this build\n");

#if defined(LITE_RTSE_SECCOMP)
  // In strict mode the kernel ends a process that makes any system call but read, write and this very exit.
  const pid_t child = fork();
  if (child == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(2);
    work(streams, in, out);
    syscall(SYS_exit, 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
    std::printf("system calls: not checked, this kernel has no seccomp\n");
  } else {
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "no system call");
  }
#endif
}

#if defined(LITE_RTSE_SECCOMP)
// Noise that swells, silence and clipped noise by turns, in pieces of 1 to 4096 samples. Ends the process: 0 if all
// went well, 2 without seccomp, 3 where something was allocated, 4 where a sample was not finite or missing.
[[noreturn]] void work_for(double hours, Stream& s) {
  Samples sound = noise(60 * kSampleRateHz), out(4096);
  for (size_t i = 0; i < sound.size(); ++i) {
    const size_t part = i / (10 * kSampleRateHz) % 3;
    sound[i] = part == 0   ? 0.0f
               : part == 1 ? sound[i] * float(i % 5000) / 5000
                           : std::clamp(100 * sound[i], -1.0f, 1.0f);
  }
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(2);
  const int64_t before = allocations(), total = int64_t(hours * 3600 * double(kSampleRateHz));
  bool fine = true;
  unsigned random = 1;
  for (int64_t done = 0; done < total;) {
    random = random * 1664525 + 1013904223;
    const int64_t at = done % int64_t(sound.size());
    const int64_t n = std::min(int64_t(1 + (random >> 20)), int64_t(sound.size()) - at);
    fine &= s.feed(sound.data() + at, n, out.data()) == n;
    for (int64_t i = 0; i < n; ++i) fine &= std::isfinite(out[i]);
    done += n;
  }
  syscall(SYS_exit, allocations() != before ? 3 : fine ? 0 : 4);
  __builtin_unreachable();
}

int test_hours(double hours) {
  Stream s(make(Weights({64, 5, true})), Timing::live);
  const pid_t child = fork();
  if (child == 0) work_for(hours, s);
  int status = 0;
  waitpid(child, &status, 0);
  const int result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  std::printf("%s: %.2f hours, %s\n", engine().isa, hours,
              result == 0   ? "no allocation, no system call"
              : result == 2 ? "not run, this kernel has no seccomp"
              : result == 3 ? "FAIL: something was allocated"
              : result == 4 ? "FAIL: samples are missing or not finite"
                            : "FAIL: a system call, or a crash");
  return result == 0 || result == 2 ? 0 : 1;
}
#endif

#if defined(__x86_64__)
void test_the_control_word_is_restored(const std::shared_ptr<const Network>& network) {
  for (unsigned flags : {0u, 0x8040u}) {
    const unsigned before = (__builtin_ia32_stmxcsr() & ~0x8040u) | flags;
    __builtin_ia32_ldmxcsr(before);
    Stream s(network, Timing::aligned);
    feed(s, noise(3 * kHop), 100);
    constexpr unsigned kModes = 0xFFC0;  // without the sticky exception flags
    expect((__builtin_ia32_stmxcsr() & kModes) == (before & kModes), "the control word is restored");
  }
  __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~0x8040u);
}
#endif

// A signal that fades out leaves no subnormal number behind; those would be a hundred times as slow.
void test_subnormals_are_flushed(const std::shared_ptr<const Network>& network) {
  Samples fading = noise(40 * kHop);
  for (size_t i = 0; i < fading.size(); ++i) fading[i] *= std::exp(-float(i) / 150);
  Stream s(network, Timing::aligned);
  feed(s, fading, 256);
  Samples state(s.size());
  s.save(state.data());
  int64_t subnormal = 0;
  for (size_t i = 0; i < state.size(); ++i) subnormal += std::fpclassify(state[i]) == FP_SUBNORMAL;
  expect(subnormal == 0, std::to_string(subnormal) + " subnormal numbers in the state");
}

void test_all(bool few_rates) {
  test_transform();
  test_against_plain_loops({8, 3, true}, 30);
  for (const Config& c : {Config{64, 5, true},
                          {20, 2, false},
                          {8, 3, true, {0.3f, true}},
                          {8, 3, true, {0.5f, false}},
                          {8, 3, true, {1.0f, true}}})
    test_against_plain_loops(c, 9);
  test_missing_and_wrong_weights();
  const auto network = make(Weights({8, 3, true})), usual = make(Weights({64, 5, true}));
  test_cuts_batches_and_states(network);
  test_high_pass(network);
  test_faults(network);
  test_states_that_do_not_fit(network);
  test_no_allocation_no_system_call(network);
  test_no_allocation_no_system_call(usual);
#if defined(__x86_64__)
  test_the_control_word_is_restored(network);
#endif
  test_subnormals_are_flushed(network);
  test_min_gain();
  test_rates(few_rates);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    engine();
  } catch (const std::runtime_error& error) {
    std::printf("%s\n", error.what());
    return 77;
  }
  const std::string mode = count > 1 ? arguments[1] : "";
#if defined(LITE_RTSE_SECCOMP)
  if (std::atof(mode.c_str()) > 0) return test_hours(std::atof(mode.c_str()));
#endif
  if (!mode.empty() && mode != "threads" && mode != "rates")
    return std::printf("expected threads, rates, or hours in a build that has them, got %s\n", mode.c_str()), 2;
  const auto network = make(Weights({8, 3, true}));
  test_threads(network);
  test_settings_from_another_thread(network);
  if (mode != "threads") test_all(mode == "rates");
  std::printf("%s: %d cases, %d failures\n", engine().isa, cases, failures);
  return failures ? 1 : 0;
}
