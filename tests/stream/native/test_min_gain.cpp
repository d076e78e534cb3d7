// Another minimum gain during a call gives what other parameters give, in the frames and the streams that it is set
// for.
#include "test_min_gain.h"

#include <stdexcept>

#include "harness.h"

namespace {

const std::vector<double> kNumbers = {0.07, 0.2, 0.4};

Config config(const MinGain& min_gain) { return {8, 3, true, {1, false, min_gain}}; }
MinGain of(const std::vector<double>& numbers) { return min_gain(numbers.data(), numbers.size()); }

// Parameters whose minimum gain is a factor of that of the same parameters.
Weights scaled(const MinGain& min_gain, double factor) {
  Weights weights(config(min_gain));
  std::vector<float>&weight = weights["to_mag.weight"], &bias = weights["to_mag.bias"];
  for (int64_t f = 0; f < kBins; ++f) {
    const double p = min_gain.at(f), q = factor * p, scale = (1 - q) / (1 - p);
    for (int64_t i = 0; i < kBins; ++i) weight[f * kBins + i] = float(scale * weight[f * kBins + i]);
    bias[f] = float(scale * bias[f] + q - scale * p);
  }
  return weights;
}

Samples run_with(const std::shared_ptr<const Network>& network, float factor, const Samples& in) {
  Stream s(network, Timing::aligned);
  s.set_min_gain(factor);
  return run(s, in, 100);
}

void test_curve() {
  const MinGain usual = of(kNumbers), without_top = of({0.07, 0.2});
  const auto near = [](double a, double b) { return std::fabs(a - b) < 1e-12; };
  expect(usual.at(0) == 0.07 && near(usual.at(32), 0.07), "constant up to 1 kHz");
  expect(near(usual.at(45), 0.07 + 0.13 * std::log2(1.40625)), "between 1 and 2 kHz");
  expect(near(usual.at(64), 0.2) && near(usual.at(217), 0.2), "constant from 2 to 6.8 kHz");
  expect(near(usual.at(224), 0.3) && near(usual.at(231), 0.4) && near(usual.at(256), 0.4), "up to 7.2 kHz and above");
  expect(near(without_top.at(256), 0.2) && MinGain().at(256) == 0, "two numbers, and none");
  const double nan = std::nan("");
  for (const std::vector<double>& wrong :
       std::vector<std::vector<double>>{{}, {0.1}, {0, 0, 0, 0}, {1, 0}, {0, -0.1}, {0, 0, nan}}) {
    bool refused = false;
    try {
      of(wrong);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    expect(refused, "a wrong minimum gain is refused");
  }
}

void test_as_with_other_parameters() {
  const MinGain min_gain = of(kNumbers);
  const Weights weights(config(min_gain));
  const Samples in = noise(12 * kHop);
  for (Precision precision : {Precision::f32, Precision::i24, Precision::i16, Precision::i8}) {
    const auto network = make(weights, precision);
    const Samples usual = run_with(network, 1, in);
    expect(run_with(make(Weights(config({})), precision), 1, in) == usual, "a factor of 1 changes nothing");
    for (float factor : {0.0f, 0.25f, 0.9f}) {
      const Samples got = run_with(network, factor, in);
      const Samples want = run_with(make(scaled(min_gain, factor), precision), 1, in);
      expect(relative_error(got, Doubles(want.begin(), want.end())) < 1e-6, "as with other parameters");
      expect(relative_error(got, Doubles(usual.begin(), usual.end())) > 1e-3, "and not as without");
    }
  }
}

// The frame in which the setting changes is half old and half new.
void test_from_the_next_frame_on(const std::shared_ptr<const Network>& network) {
  const Samples in = noise(12 * kHop), usual = run_with(network, 1, in), lower = run_with(network, 0.1f, in);
  for (int64_t at : {5 * kHop, 5 * kHop + 1, 6 * kHop - 1}) {
    Stream s(network, Timing::aligned);
    Samples got = feed(s, Samples(in.begin(), in.begin() + at), at);
    s.set_min_gain(0.1f);
    const Samples rest = run(s, Samples(in.begin() + at, in.end()), 100);
    got.insert(got.end(), rest.begin(), rest.end());
    const auto same = [&](const Samples& other, int64_t first, int64_t last) {
      return std::equal(got.begin() + first, got.begin() + last, other.begin() + first);
    };
    expect(same(usual, 0, 4 * kHop) && !same(usual, 4 * kHop, 5 * kHop), "not before the next frame");
    expect(!same(lower, 4 * kHop, 5 * kHop) && same(lower, 5 * kHop, 12 * kHop), "from the next frame on");
  }
}

void test_each_stream_of_a_batch_has_its_own(const std::shared_ptr<const Network>& network) {
  constexpr int64_t kMany = kMostStreams + 3;
  const Samples in = noise(6 * kHop);
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Samples> outputs(kMany, Samples(in.size()));
  std::vector<Stream*> which;
  std::vector<float*> to;
  const std::vector<const float*> from(kMany, in.data());
  const std::vector<int64_t> count(kMany, int64_t(in.size()));
  std::vector<int64_t> written(kMany);
  for (int64_t i = 0; i < kMany; ++i) {
    which.push_back(streams.emplace_back(std::make_unique<Stream>(network, Timing::live)).get());
    which[i]->set_min_gain(float(i) / float(kMany - 1));
    to.push_back(outputs[i].data());
  }
  feed(which.data(), from.data(), count.data(), to.data(), nullptr, written.data(), kMany);
  for (int64_t i = 0; i < kMany; ++i) {
    Stream alone(network, Timing::live);
    alone.set_min_gain(float(i) / float(kMany - 1));
    expect(outputs[i] == feed(alone, in, 123), "a stream of a batch has its own minimum gain");
  }
}

}  // namespace

void test_min_gain() {
  test_curve();
  test_as_with_other_parameters();
  const auto network = make(Weights(config(of(kNumbers))));
  test_from_the_next_frame_on(network);
  test_each_stream_of_a_batch_has_its_own(network);
}
