// What the tests of test_stream.cpp are written with: counted expectations, signals, and ways to feed a stream.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../../../csrc/stream/stream.h"
#include "plain_network.h"

using namespace lite_rtse::stream;
using Samples = std::vector<float>;

inline int failures = 0, cases = 0;

inline void expect(bool ok, const std::string& what) {
  ++cases;
  if (ok) return;
  ++failures;
  std::printf("FAIL  %s\n", what.c_str());
}

inline double relative_error(const Samples& got, const Doubles& want) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return got.size() == want.size() ? std::sqrt(difference / size) : 1.0 / 0.0;
}

inline Samples noise(int64_t n, unsigned seed = 3) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  Samples v(n);
  for (float& x : v) x = normal(generator);
  return v;
}

inline std::shared_ptr<const Network> make(const Weights& w, Precision precision = Precision::f32) {
  return engine().network(parameters(w.arrays(), w.config.options), precision);
}

// What a stream gives for blocks of `size` samples, without the flush.
template <class AnyStream>
Samples feed(AnyStream& s, const Samples& in, int64_t size) {
  Samples out;
  const int64_t channels = s.channels(), count = int64_t(in.size()) / channels;
  for (int64_t at = 0; at < count; at += size) {
    const int64_t n = std::min(size, count - at);
    Samples block(channels * s.room(n));
    block.resize(channels * s.feed(in.data() + channels * at, n, block.data()));
    out.insert(out.end(), block.begin(), block.end());
  }
  return out;
}
template <class AnyStream>
Samples run(AnyStream& s, const Samples& in, int64_t size) {
  Samples out = feed(s, in, size), rest(s.channels() * std::max(kLatency, s.latency()));
  rest.resize(s.channels() * s.flush(rest.data()));
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}
