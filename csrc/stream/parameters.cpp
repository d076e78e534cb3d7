// Converts a checkpoint's arrays to the network's parameters. Every name, shape and value is checked; unknown arrays
// are rejected.
#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

#include "network.h"

namespace lite_rtse::stream {
namespace {

using Arrays = std::map<std::string, Array>;
using Shape = std::vector<int64_t>;
using Linear = Parameters::Linear;

constexpr int64_t kMostNetworkChannels = 1024, kMostOrder = 10;

std::string text(const Shape& shape) {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}

[[noreturn]] void fail(const std::string& what) { throw std::invalid_argument(what); }

class Reader {
 public:
  explicit Reader(const Arrays& arrays) : arrays_(arrays) {}

  const Array& find(const std::string& name) const {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) fail("no parameters of Lite-RTSE: " + name + " is missing");
    return found->second;
  }
  bool has(const std::string& name) const { return arrays_.count(name) != 0; }

  const float* take(const std::string& name, const Shape& shape) {
    const Array& a = find(name);
    if (a.shape != shape) fail(name + " must have the shape " + text(shape) + ", but has " + text(a.shape));
    int64_t n = 1;
    for (int64_t size : shape) n *= size;
    for (int64_t i = 0; i < n; ++i)
      if (!std::isfinite(a.data[i])) fail(name + " holds a value that is not finite");
    taken_.insert(name);
    return a.data;
  }
  // A linear layer of `module`: its weight has the given shape, its bias one number per output.
  Linear linear(const std::string& module, const Shape& weight) {
    return {take(module + ".weight", weight), take(module + ".bias", {weight[0]})};
  }
  Parameters::Lstm lstm(const std::string& module, int64_t inputs, int64_t units) {
    const auto half = [&](const std::string& which, int64_t sources) {
      return Linear{take(module + ".weight_" + which + "_l0", {4 * units, sources}),
                    take(module + ".bias_" + which + "_l0", {4 * units})};
    };
    return {half("ih", inputs), half("hh", units)};
  }

  void refuse_others() const {
    for (const auto& entry : arrays_)
      if (!taken_.count(entry.first)) fail("unknown parameter " + entry.first);
  }

 private:
  const Arrays& arrays_;
  std::set<std::string> taken_;
};

int64_t dimension(const Reader& r, const std::string& name, size_t dimensions, size_t which) {
  const Shape& shape = r.find(name).shape;
  if (shape.size() != dimensions)
    fail(name + " must have " + std::to_string(dimensions) + " dimensions, but has the shape " + text(shape));
  return shape[which];
}

Config config(const Reader& r, const Options& options) {
  if (!(options.compression > 0 && options.compression <= 1))
    fail("compression must be above 0 and at most 1, but is " + std::to_string(options.compression));
  if (r.has("input_mean") && !options.standardized())
    fail("input_mean belongs to a network with compression or mask_branch: state its configuration");
  const int64_t bins = dimension(r, "fc1.weight", 2, 0);
  if (bins != kBins)
    fail("streaming needs a network of " + std::to_string(kBins) + " bins, but this one has " + std::to_string(bins));
  Config c;
  c.options = options;
  c.channels = dimension(r, "msmo_conv.2.pwconvN.weight", 4, 1);
  c.depthwise = dimension(r, "msmo_conv.0.conv.2.weight", 4, 1) == 1;
  c.order = 1;
  while (c.order <= kMostOrder && r.has("msmo_conv.2.pwconvs." + std::to_string(c.order - 1) + ".weight")) ++c.order;
  if (c.order < 2) fail("no parameters of Lite-RTSE: msmo_conv.2.pwconvs.0.weight is missing");
  if (c.order > kMostOrder) fail("order must be at most " + std::to_string(kMostOrder));
  if (c.channels < 1 || c.channels > kMostNetworkChannels || c.channels % (int64_t(1) << (c.order - 1)) != 0)
    fail("channels must be a multiple of " + std::to_string(int64_t(1) << (c.order - 1)) + " up to " +
         std::to_string(kMostNetworkChannels) + ", but are " + std::to_string(c.channels));
  return c;
}

Parameters::Block block(Reader& r, const std::string& module, int64_t in, int64_t c, bool depthwise) {
  return {r.linear(module + ".conv.0", {c, in, 1, 1}), r.linear(module + ".conv.2", {c, depthwise ? 1 : c, 3, 3}),
          r.linear(module + ".conv.3", {c, c, 1, 1}), r.linear(module + ".skip", {c, in, 1, 1})};
}

MultiOrderConvArgs multi_order(Reader& r, const std::string& module, const Config& c) {
  MultiOrderConvArgs a{};
  a.dtype = DType::f32;
  a.batch = a.frames = a.out_channels = a.threads = 1;
  a.in_channels = c.channels / 2;
  a.channels = c.channels;
  a.order = c.order;
  a.bins = kBins;
  a.taps = 7;
  const auto add = [&](const std::string& name, const Shape& shape) {
    const Linear p = r.linear(module + name, shape);
    a.weight.push_back(p.weight);
    a.bias.push_back(p.bias);
  };
  add(".pwconv1", {2 * c.channels, a.in_channels, 1, 1});
  for (int64_t k = 0; k < a.stages(); ++k)
    add(".dwconvs." + std::to_string(k) + ".1", {2 * c.channels - a.gate(k), 1, a.taps, a.taps});
  for (int64_t k = 0; k < a.stages(); ++k) add(".pwconvs." + std::to_string(k), {2 * a.gate(k), a.gate(k), 1, 1});
  add(".pwconvN", {1, c.channels, 1, 1});
  return a;
}

}  // namespace

// log2(x) of an x from 1 to 2, by the series of atanh. The C library's function has tables, which are too large for web
// pages.
static double log2_of(double x) {
  const double s = (x - 1) / (x + 1);
  double sum = 0, power = s;
  for (int k = 1; k < 36; k += 2, power *= s * s) sum += power / k;
  return sum * (2 / 0.69314718055994531);
}

double MinGain::at(int64_t bin) const {
  const double hz = double(bin * kSampleRateHz) / kWindow;
  return bass + (treble - bass) * log2_of(std::clamp(hz / 1000, 1.0, 2.0)) +
         (top - treble) * std::clamp((hz - 6800) / 400, 0.0, 1.0);
}

MinGain min_gain(const double* numbers, size_t count) {
  const auto fits = [](double p) { return p >= 0 && p < 1; };
  if (count < 2 || count > 3 || !std::all_of(numbers, numbers + count, fits))
    fail("min_gain: expected two or three numbers from 0 to below 1");
  return {true, numbers[0], numbers[1], numbers[count - 1]};
}

Parameters parameters(const Arrays& arrays, const Options& options) {
  Reader r(arrays);
  Parameters p{};
  p.config = config(r, options);
  if (options.standardized())
    p.input_mean = r.take("input_mean", {kBins}), p.input_scale = r.take("input_scale", {kBins});
  const int64_t half = p.config.channels / 2;
  p.lstm1 = r.lstm("lstm1", kBins, kBins);
  p.fc1 = r.linear("fc1", {kBins, kBins});
  p.blocks[0] = block(r, "msmo_conv.0", 1, half, p.config.depthwise);
  p.blocks[1] = block(r, "msmo_conv.1", half, half, p.config.depthwise);
  p.multi_order = multi_order(r, "msmo_conv.2", p.config);
  p.fc2 = r.linear("fc2", {kBins, 3 * kBins});
  p.lstm2 = r.lstm("lstm2", kBins, kBins);
  p.to_mag = r.linear("to_mag", {kBins, kBins});
  p.to_real = r.linear("to_real", {kBins, kBins});
  p.to_imag = r.linear("to_imag", {kBins, kBins});
  r.refuse_others();
  return p;
}

}  // namespace lite_rtse::stream
