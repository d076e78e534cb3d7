// A stream of samples at the rate of the program that uses it, such as 48 kHz. At 16 kHz it is a Stream.
//
// At another rate the signal takes two ways:
//
//   x ─► to 16 kHz ─► y ─► Stream ─► e, G
//   output = from 16 kHz(e - G y) + G x
//
// G is the gain of the highest quarter of the band that the network hears. At 44.1 and 48 kHz that is 6 to 8 kHz; at
// 8 kHz it is 3 to 4 kHz. By linearity the output is the sum of two bands: `from(e)`, and G times `x - from(y)`. The
// second is what the conversion to 16 kHz and back loses: all above 8 kHz, and what the filters take below it. If the
// network changes nothing, e is y and G is 1. The output is then x, whatever the filters do.
//
// Both conversions have linear phase and the same length at every rate, so that x needs a mere delay. The length
// follows from the width of the transition. Between 7.4 and 8 kHz the network hears the signal more and more quietly.
//
// A rate below 16 kHz works alike. y then has nothing above half the rate, and the output can't have it.
#pragma once

#include "resampler.h"
#include "stream.h"

namespace lite_rtse::stream {

inline constexpr int64_t kLeastRateHz = 1000, kMostRateHz = 1000000;

class HostStream {
 public:
  // Allocates all memory that the stream will ever need.
  HostStream(std::shared_ptr<const Network> network, Timing timing, bool high_pass = true,
             int64_t rate_hz = kSampleRateHz, int64_t channels = 1);

  // As in Stream. All counts are samples of one channel at this stream's rate. `feed` of a live stream can work in
  // place.
  int64_t room(int64_t count) const;
  int64_t feed(const float* in, int64_t count, float* out);
  int64_t flush(float* out);  // at most `latency` samples
  void reset();
  void set_wet(float wet) { stream_.set_wet(wet); }
  void set_min_gain(float factor) { stream_.set_min_gain(factor); }
  Faults faults() const;

  // The delay of the output of a live stream. That of an aligned stream is not shifted, but returned at most this much
  // later.
  int64_t latency() const { return latency_; }
  Timing timing() const { return timing_; }
  int64_t channels() const { return stream_.channels(); }
  const std::shared_ptr<const Network>& network() const { return stream_.network(); }

  int64_t size() const;
  void save(float* to) const;
  void load(const float* from, int64_t count);

 private:
  friend void feed(HostStream* const*, const float* const*, const int64_t*, float* const*, int64_t*, int64_t);

  // A piece of the signal for the Stream, and where its results go.
  struct Piece {
    const float* in;
    float *out, *gains;
    int64_t count;
  };

  bool converts() const { return rate_hz_ != kSampleRateHz; }
  Piece begin(const float* in, int64_t count, float* out);
  int64_t end(int64_t given, int64_t taken, float* out);
  int64_t take(const float* in, int64_t count);
  int64_t convert(int64_t most);
  void enhanced(int64_t count);
  int64_t give(float* out, int64_t most);
  bool fits(const float* waiting, float pending) const;

  const Timing timing_;
  const int64_t rate_hz_;
  Stream stream_;
  std::atomic<int64_t> bad_samples_ = 0;
  int64_t latency_ = kLatency, piece_ = kHop;  // the stream is processed in pieces, of about a frame
  int64_t most_heard_ = 0;                     // samples at 16 kHz of a piece
  std::vector<Resampler> there_, back_;        // one for each channel
  std::vector<Fifo> dry_, heard_;              // x that waits for the output, and y that waits for e
  Fifo gains_{0};                              // G of the samples that wait in `back_`
  std::vector<float> scratch_in_, scratch_out_, scratch_gains_;
};

// As for streams of 16 kHz. The streams can have different rates.
void feed(HostStream* const* streams, const float* const* in, const int64_t* count, float* const* out, int64_t* written,
          int64_t n);

}  // namespace lite_rtse::stream
