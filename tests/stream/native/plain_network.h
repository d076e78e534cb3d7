// The network and its transforms in plain loops and float64, written from the definitions: what the engine must
// compute.
#pragma once

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "../../../csrc/stream/network.h"

using Doubles = std::vector<double>;
using lite_rtse::stream::Array;
using lite_rtse::stream::Config;
using lite_rtse::stream::kBins;
using lite_rtse::stream::kHop;
using lite_rtse::stream::kWindow;

// A checkpoint of random parameters, uniform within 1/sqrt(fan-in) as PyTorch's are.
class Weights {
 public:
  explicit Weights(const Config& c, unsigned seed = 1) : config(c), generator_(seed) {
    const int64_t half = c.channels / 2;
    lstm("lstm1");
    linear("fc1", {kBins, kBins});
    block("msmo_conv.0", 1, half);
    block("msmo_conv.1", half, half);
    linear("msmo_conv.2.pwconv1", {2 * c.channels, half, 1, 1});
    for (int64_t k = 0; k + 1 < c.order; ++k) {
      const int64_t g = gate(k);
      linear("msmo_conv.2.dwconvs." + std::to_string(k) + ".1", {2 * c.channels - g, 1, 7, 7});
      linear("msmo_conv.2.pwconvs." + std::to_string(k), {2 * g, g, 1, 1});
    }
    linear("msmo_conv.2.pwconvN", {1, c.channels, 1, 1});
    linear("fc2", {kBins, 3 * kBins});
    lstm("lstm2");
    for (const char* name : {"to_mag", "to_real", "to_imag"}) linear(name, {kBins, kBins});
    if (c.options.standardized())
      for (const char* name : {"input_mean", "input_scale"}) add(name, {kBins}, 1);
  }

  int64_t gate(int64_t k) const { return config.channels >> (config.order - 1 - k); }
  std::vector<float>& operator[](const std::string& name) { return values_.at(name); }
  const std::vector<float>& operator[](const std::string& name) const { return values_.at(name); }
  std::map<std::string, Array> arrays() const {
    std::map<std::string, Array> result;
    for (const auto& [name, v] : values_) result[name] = {v.data(), shapes_.at(name)};
    return result;
  }

  const Config config;

 private:
  void add(const std::string& name, std::vector<int64_t> shape, int64_t fan_in) {
    int64_t n = 1;
    for (int64_t size : shape) n *= size;
    std::uniform_real_distribution<float> uniform(-1 / std::sqrt(float(fan_in)), 1 / std::sqrt(float(fan_in)));
    std::vector<float>& v = values_[name];
    for (int64_t i = 0; i < n; ++i) v.push_back(uniform(generator_));
    shapes_[name] = std::move(shape);
  }
  void linear(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t fan_in = 1;
    for (size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
    add(name + ".weight", shape, fan_in);
    add(name + ".bias", {shape[0]}, fan_in);
  }
  void lstm(const std::string& name) {
    for (const char* half : {"ih", "hh"}) {
      add(name + ".weight_" + half + "_l0", {4 * kBins, kBins}, kBins);
      add(name + ".bias_" + half + "_l0", {4 * kBins}, kBins);
    }
  }
  void block(const std::string& name, int64_t in, int64_t c) {
    linear(name + ".conv.0", {c, in, 1, 1});
    linear(name + ".conv.2", {c, config.depthwise ? 1 : c, 3, 3});
    linear(name + ".conv.3", {c, c, 1, 1});
    linear(name + ".skip", {c, in, 1, 1});
  }

  std::map<std::string, std::vector<float>> values_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::mt19937 generator_;
};

using Plane = std::vector<Doubles>;  // (channels, bins) of one frame

class PlainNetwork {
 public:
  explicit PlainNetwork(const Weights& weights) : w_(weights) {}

  // 256 samples in; the 256 before them, enhanced, out.
  Doubles step(const std::vector<float>& in) {
    Doubles re(kBins), im(kBins), m(kBins);
    for (int64_t f = 0; f < kBins; ++f) {
      for (int64_t n = 0; n < kWindow; ++n) {
        const double x = window(n) * (n < kHop ? before_[n] : in[n - kHop]);
        re[f] += x * std::cos(2 * kPi * double(f * n % kWindow) / kWindow);
        im[f] -= x * std::sin(2 * kPi * double(f * n % kWindow) / kWindow);
      }
      m[f] = std::hypot(re[f], im[f]);
    }
    before_ = in;
    Doubles fusion = read(m), logit = linear("fc1", lstm("lstm1", fusion)), y1 = m;
    const Plane y2 = multi_order(block("msmo_conv.1", block("msmo_conv.0", {fusion})));
    for (int64_t f = 0; f < kBins; ++f) {
      if (w_.config.options.mask_branch) logit[f] += y2[0][f];
      y1[f] *= sigmoid(logit[f]);
    }
    const Doubles masked = read(y1);
    fusion.insert(fusion.end(), masked.begin(), masked.end());
    fusion.insert(fusion.end(), y2[0].begin(), y2[0].end());
    const Doubles z = lstm("lstm2", linear("fc2", fusion));
    const Doubles mag = linear("to_mag", z), real = linear("to_real", z), imag = linear("to_imag", z);
    for (int64_t f = 0; f < kBins; ++f) {
      const double size = mag[f] * (m[f] - y1[f]) + y1[f];
      const double phase = std::atan2(im[f], re[f]) + std::atan2(imag[f], real[f]);
      re[f] = size * std::cos(phase);
      im[f] = size * std::sin(phase);
    }
    return overlap_add(re, im);
  }

 private:
  static constexpr double kPi = 3.14159265358979323846;
  static double window(int64_t n) { return std::sqrt(0.5 - 0.5 * std::cos(2 * kPi * double(n) / kWindow)); }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  // Magnitudes as the layers read them.
  Doubles read(Doubles m) const {
    const auto& options = w_.config.options;
    if (!options.standardized()) return m;
    for (int64_t f = 0; f < kBins; ++f) {
      if (options.compression != 1) m[f] = std::pow(m[f] * m[f] + 1e-8, double(options.compression) / 2);
      m[f] = (m[f] - w_["input_mean"][f]) * w_["input_scale"][f];
    }
    return m;
  }

  Doubles overlap_add(const Doubles& re, const Doubles& im) {
    Doubles samples(kWindow), out(kHop);
    for (int64_t n = 0; n < kWindow; ++n) {
      double sum = re[0] + (n % 2 ? -re[kBins - 1] : re[kBins - 1]);
      for (int64_t f = 1; f + 1 < kBins; ++f) {
        const double angle = 2 * kPi * double(f * n % kWindow) / kWindow;
        sum += 2 * (re[f] * std::cos(angle) - im[f] * std::sin(angle));
      }
      samples[n] = window(n) * sum / kWindow;
    }
    for (int64_t n = 0; n < kHop; ++n) {
      out[n] = overlap_[n] + samples[n];
      overlap_[n] = samples[kHop + n];
    }
    return out;
  }

  // W x + b for a matrix of as many rows as the bias has elements.
  Doubles product(const std::string& weight, const std::string& bias, const Doubles& x) const {
    const std::vector<float>&w = w_[weight], &b = w_[bias];
    Doubles y(b.begin(), b.end());
    for (size_t o = 0; o < y.size(); ++o)
      for (size_t i = 0; i < x.size(); ++i) y[o] += double(w[o * x.size() + i]) * x[i];
    return y;
  }
  Doubles linear(const std::string& name, const Doubles& x) const {
    return product(name + ".weight", name + ".bias", x);
  }

  Doubles lstm(const std::string& name, const Doubles& x) {
    Doubles& h = memory_[name + " h"];
    Doubles& c = memory_[name + " c"];
    h.resize(kBins);
    c.resize(kBins);
    const Doubles a = product(name + ".weight_ih_l0", name + ".bias_ih_l0", x);
    const Doubles b = product(name + ".weight_hh_l0", name + ".bias_hh_l0", h);
    for (int64_t u = 0; u < kBins; ++u) {
      const auto z = [&](int64_t gate) { return a[gate * kBins + u] + b[gate * kBins + u]; };
      c[u] = sigmoid(z(1)) * c[u] + sigmoid(z(0)) * std::tanh(z(2));
      h[u] = sigmoid(z(3)) * std::tanh(c[u]);
    }
    return h;
  }

  // A 1x1.
  Plane pointwise(const std::string& name, const Plane& x) const {
    Plane y(w_[name + ".bias"].size(), Doubles(kBins));
    Doubles column(x.size());
    for (int64_t f = 0; f < kBins; ++f) {
      for (size_t c = 0; c < x.size(); ++c) column[c] = x[c][f];
      const Doubles out = linear(name, column);
      for (size_t o = 0; o < y.size(); ++o) y[o][f] = out[o];
    }
    return y;
  }

  // A causal k x k, depthwise or full, over this frame and the k - 1 before.
  Plane causal(const std::string& name, const Plane& x, int64_t k, bool depthwise) {
    std::vector<Plane>& frames = history_[name];
    while (int64_t(frames.size()) < k) frames.emplace_back(x.size(), Doubles(kBins));
    frames.erase(frames.begin());
    frames.push_back(x);
    const std::vector<float>&w = w_[name + ".weight"], &b = w_[name + ".bias"];
    const int64_t channels = int64_t(x.size()), sources = depthwise ? 1 : channels;
    Plane y(channels, Doubles(kBins));
    for (int64_t o = 0; o < channels; ++o)
      for (int64_t f = 0; f < kBins; ++f) {
        y[o][f] = b[o];
        for (int64_t s = 0; s < sources; ++s)
          for (int64_t i = 0; i < k; ++i)
            for (int64_t j = 0; j < k; ++j) {
              const int64_t at = f + j - k / 2;
              if (at < 0 || at >= kBins) continue;
              y[o][f] += double(w[((o * sources + s) * k + i) * k + j]) * frames[i][depthwise ? o : s][at];
            }
      }
    return y;
  }

  static Plane times(Plane a, const Plane& b) {
    for (size_t c = 0; c < a.size(); ++c)
      for (int64_t f = 0; f < kBins; ++f) a[c][f] *= b[c][f];
    return a;
  }

  Plane block(const std::string& name, const Plane& x) {
    const Plane h = causal(name + ".conv.2", pointwise(name + ".conv.0", x), 3, w_.config.depthwise);
    return times(pointwise(name + ".conv.3", h), pointwise(name + ".skip", x));
  }

  Plane multi_order(const Plane& x) {
    const std::string name = "msmo_conv.2.";
    Plane d = pointwise(name + "pwconv1", x);
    Plane p(d.end() - w_.gate(0), d.end());
    d.resize(d.size() - w_.gate(0));
    for (int64_t k = 0; k + 1 < w_.config.order; ++k) {
      d = causal(name + "dwconvs." + std::to_string(k) + ".1", d, 7, true);
      const Plane gate(d.end() - w_.gate(k), d.end());
      d.resize(d.size() - w_.gate(k));
      p = pointwise(name + "pwconvs." + std::to_string(k), times(p, gate));
    }
    return pointwise(name + "pwconvN", times(d, p));
  }

  const Weights& w_;
  std::vector<float> before_ = std::vector<float>(kHop);
  Doubles overlap_ = Doubles(kHop);
  std::map<std::string, Doubles> memory_;
  std::map<std::string, std::vector<Plane>> history_;
};
