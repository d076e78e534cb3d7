// The network for one frame at a time: the code that is compiled once for each instruction set. It uses neither torch
// nor Python.
//
// The flow of data. A frame is 256 new samples, 16 ms at 16 kHz:
//
//   256 samples + the 256 before ─► window, FFT ─► X, 257 bins ─► m = |X|
//   read(m) ─► Conv-Block ─► Conv-Block ─► Multi-Order block ─► Y2
//   read(m) ─► LSTM 1 ─► linear ─► logit of the mask (+ Y2);  Y1 = m · sigmoid(logit)
//   [read(m), read(Y1), Y2] ─► linear ─► LSTM 2 ─► three linears ─► R
//   X · gain(logit, R) ─► inverse FFT, window ─► added to the end of the frame before ─► 256 samples
//
// A stream can have several channels, for which the network computes one common gain. m is then the root mean square of
// the channels' magnitudes in each bin, and the gain is applied to the X of every channel.
//
// From frame to frame a stream keeps 256 input samples, 256 unfinished output samples and the states of the LSTMs. For
// every depthwise stage it also keeps the last 2 or 6 frames of the stage's input. These frames stay in lane rows
// (cpu/rows.inl) throughout: only m and Y2 have a layout by bins alone. Before the first frame everything is zero.
//
// read(m) is m in the published network. With the options of Config, read(m) is the compressed and standardized m.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../operators.h"

namespace lite_rtse::stream {

inline constexpr int64_t kSampleRateHz = 16000;
inline constexpr int64_t kWindow = 512;  // samples of the window and of the transform
inline constexpr int64_t kHop = kWindow / 2;
inline constexpr int64_t kBins = kWindow / 2 + 1;
inline constexpr int64_t kMostStreamChannels = 64;

// The minimum gain that is part of the parameters, up to 1 kHz, from 2 kHz on and above 7 kHz. Each is from 0 to
// below 1. If it is not known, it counts as 0. See lite_rtse_ext/models/min_gain.py.
struct MinGain {
  bool known = false;
  double bass = 0, treble = 0, top = 0;
  double at(int64_t bin) const;
};
// Throws std::invalid_argument unless these are two or three numbers from 0 to below 1.
MinGain min_gain(const double* numbers, size_t count);

// What a file of parameters states beside them: those constructor arguments of the Python class LiteRTSE that change
// what the parameters mean, and the minimum gain that is part of them.
struct Options {
  float compression = 1;     // the exponent p of read(m) = ((m² + 1e-8)^(p / 2) - mean) · scale; 1: no compression
  bool mask_branch = false;  // whether Y2 is added to the logit of the mask
  MinGain min_gain = {};
  bool standardized() const { return compression != 1 || mask_branch; }
};
inline constexpr float kCompressionFloor = 1e-8f;  // as in lite_rtse_ext/reference/spectrum.py

// All constructor arguments of LiteRTSE, and the minimum gain. The sizes follow from the parameters' shapes.
struct Config {
  int64_t channels = 0, order = 0;
  bool depthwise = true;
  Options options = {};
};

// Pointers to one network's parameters: dense, row-major float32, in PyTorch's layouts. They are read while a Network
// is built.
struct Parameters {
  struct Linear {
    const float *weight, *bias;
  };
  struct Lstm {
    Linear input, hidden;
  };
  struct Block {
    Linear in, causal, out, skip;
  };
  Config config;
  Lstm lstm1, lstm2;
  Linear fc1, fc2, to_mag, to_real, to_imag;
  Block blocks[2];
  MultiOrderConvArgs multi_order;
  const float *input_mean, *input_scale;  // one number for each bin; null if the network is not standardized
};

// A parameter of a checkpoint; the map's key is its name.
struct Array {
  const float* data;
  std::vector<int64_t> shape;
};

// Checks names, shapes and values of a checkpoint. Throws std::invalid_argument, whose message says what is wrong.
Parameters parameters(const std::map<std::string, Array>& arrays, const Options& options);

// How the weights of the LSTMs and linear layers are stored. Each frame reads them once, from beyond the second-level
// cache.
// i24, i16, i8: integers of so many bits with one scale for each output; see frame_dense.inl.
enum class Precision { f32, i24, i16, i8 };

// The engine for web pages has no other kernel, so that its code is small.
#ifdef LITE_RTSE_INT16_ONLY
inline constexpr bool kInt16Only = true;
#else
inline constexpr bool kInt16Only = false;
#endif

// The memory of one stream, and its scratch memory.
class State {
 public:
  virtual ~State() = default;
  virtual void clear() = 0;
  // The memory of the stream as numbers. Their order is the same for all instruction sets.
  virtual int64_t size() const = 0;
  virtual void save(float* to) const = 0;
  virtual void load(const float* from) = 0;
};

// A range of bins.
struct Band {
  int64_t first = 0, last = 0;  // without the last one
};

// One frame of one stream.
struct Frame {
  State* state;
  const float* in;  // 256 samples of each channel, channel by channel
  float* out;       // 256 samples of each channel: the enhanced samples of the frame before
  float wet;        // share of the enhanced signal; the rest is the input signal
  float min_gain;   // factor of the network's minimum gain, from 0 to 1
  Band band;        // bins whose gain is wanted
  float gain;       // set by step: the root of the band's energy after the network divided by that before it, or -1
                    // if the band has no energy
  bool finite;      // set by step: false if a number overflowed. The state is then unusable until it is cleared.
};

class Network {
 public:
  virtual ~Network() = default;
  virtual const Config& config() const = 0;
  virtual std::unique_ptr<State> make_state(int64_t channels) const = 0;
  // Computes one frame of each of n streams, at most kMostStreams. It allocates nothing, locks nothing and calls no
  // system function. A stream's result does not depend, to the bit, on the other streams.
  virtual void step(Frame* frames, int64_t n) const = 0;
};
inline constexpr int64_t kMostStreams = 16;

// One build for one instruction set.
struct Engine {
  const char* isa;
  std::unique_ptr<Network> (*network)(const Parameters&, Precision);
  // The transforms alone, for tests: 512 samples to 257 bins, and back.
  void (*transform)(const float* samples, float* real, float* imag);
  void (*inverse)(const float* real, const float* imag, float* samples);
  // The scalar product of two vectors. Their length is a multiple of 16.
  float (*dot)(const float* a, const float* b, int64_t length);
};

// The best build that this machine can run, or the build that LITE_RTSE_ISA names; see cpu/choose.h.
const Engine& engine();
std::vector<std::string> runnable_isas();

}  // namespace lite_rtse::stream
