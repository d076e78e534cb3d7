// The high-pass in front of the network: takes out of a signal what is constant in it, such as the offset of a cheap
// sound card.
//
// Each sample loses the mean of all samples so far, where a sample counts kKept times as much as the one after it. That
// is a filter of first order with its corner at kCutoffHz. It begins as a plain mean, which is right from the first
// sample on: a constant gives zeros at once, and no step. lite_rtse_ext/audio/high_pass.py says why this order and
// corner.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "network.h"

namespace lite_rtse::stream {

class HighPass {
 public:
  static constexpr double kCutoffHz = 2;

  // In place; `removed` gets what was taken out.
  void run(float* samples, float* removed, int64_t count) {
    double mean = mean_, weight = weight_;
    for (int64_t i = 0; i < count; ++i) {
      weight = kKept * weight + 1;
      mean += (1 / weight) * (samples[i] - mean);
      removed[i] = float(mean);
      samples[i] = float(std::clamp(samples[i] - mean, -kMost, kMost));  // it may be twice the largest sample
    }
    mean_ = mean;
    weight_ = weight;
  }

  // What it remembers, to the bit, as numbers of the type of samples.
  static constexpr int64_t kSize = 6;
  void save(float* to) const { std::copy_n(parts(weight_).data(), 3, std::copy_n(parts(mean_).data(), 3, to)); }
  void load(const float* from) {
    mean_ = sum(from);
    weight_ = sum(from + 3);
  }
  // Whether `load` may have these numbers.
  static bool fits(const float* from) {
    const double weight = sum(from + 3);
    return std::isfinite(sum(from)) && weight >= 0 && weight <= kMostWeight;
  }

 private:
  static constexpr double kKept = 1 - 2 * 3.14159265358979323846 * kCutoffHz / double(kSampleRateHz);
  static constexpr double kMostWeight = (1 + 1e-9) / (1 - kKept);
  static constexpr double kMost = std::numeric_limits<float>::max();

  // A double as the sum of three floats. What only a subnormal float could hold counts as zero.
  static std::array<float, 3> parts(double value) {
    std::array<float, 3> split{};
    for (float& part : split) {
      part = std::abs(value) < std::numeric_limits<float>::min() ? 0.0f : float(value);
      value -= part;
    }
    return split;
  }
  static double sum(const float* split) { return double(split[0]) + double(split[1]) + double(split[2]); }

  double mean_ = 0;
  double weight_ = 0;  // of all samples so far together, where the last one's is 1
};

}  // namespace lite_rtse::stream
