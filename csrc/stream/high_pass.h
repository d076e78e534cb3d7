// The high-pass filter in front of the network. It removes the constant part of a signal, such as the offset of a cheap
// sound card.
//
// The filter subtracts from each sample the mean of all samples so far. A sample's weight in the mean is kKept times
// the weight of the next sample. This is a first-order filter with its corner frequency at kCutoffHz. It begins as an
// unweighted mean, which is right from the first sample on. A constant signal thus gives zeros at once, without a step.
// lite_rtse_ext/audio/high_pass.py gives the reasons for the order and the corner frequency.
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

  // Filters in place; `removed` gets the part that was subtracted.
  void run(float* samples, float* removed, int64_t count) {
    double mean = mean_, weight = weight_;
    for (int64_t i = 0; i < count; ++i) {
      weight = kKept * weight + 1;
      mean += (1 / weight) * (samples[i] - mean);
      removed[i] = float(mean);
      samples[i] = float(std::clamp(samples[i] - mean, -kMost, kMost));  // may reach twice the largest sample
    }
    mean_ = mean;
    weight_ = weight;
  }

  // The filter's state without any rounding, as numbers of the type of samples.
  static constexpr int64_t kSize = 6;
  void save(float* to) const { std::copy_n(parts(weight_).data(), 3, std::copy_n(parts(mean_).data(), 3, to)); }
  void load(const float* from) {
    mean_ = sum(from);
    weight_ = sum(from + 3);
  }
  // Whether `load` accepts these numbers.
  static bool fits(const float* from) {
    const double weight = sum(from + 3);
    return std::isfinite(sum(from)) && weight >= 0 && weight <= kMostWeight;
  }

 private:
  static constexpr double kKept = 1 - 2 * 3.14159265358979323846 * kCutoffHz / double(kSampleRateHz);
  static constexpr double kMostWeight = (1 + 1e-9) / (1 - kKept);
  static constexpr double kMost = std::numeric_limits<float>::max();

  // A double as the sum of three floats. A part that only a subnormal float could hold counts as zero.
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
  double weight_ = 0;  // the sum of the weights of all samples so far; the last sample's weight is 1
};

}  // namespace lite_rtse::stream
