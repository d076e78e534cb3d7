// A stream of samples at 16 kHz through the network: it takes pieces of any length and returns enhanced samples.
//
// Channels. The samples of several channels alternate. All counts are those of one channel. The channels have one
// common gain; see network.h.
//
// Latency. A window of 512 samples is complete with its last sample. The window's first sample therefore comes out 512
// samples, or 32 ms, after it went in. Outputs are whole frames. There are two kinds of timing. An aligned stream
// returns the frames when they are ready. It leaves out the first 256 samples, which lie before the beginning. Sample n
// of its output is then sample n of the input, enhanced. A live stream delays the output evenly, so that every call
// returns the number of samples that it takes.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "high_pass.h"
#include "network.h"

namespace lite_rtse::stream {

inline constexpr int64_t kLatency = kWindow;  // samples
inline constexpr float kStateVersion = 3;     // of the format of saved streams

enum class Timing { aligned, live };

// The faults in a stream so far, all of which were repaired.
struct Faults {
  int64_t samples = 0;  // NaN or infinite samples, which count as 0
  int64_t frames = 0;   // frames in which a number overflowed: they become silence, and the stream's memory is cleared
};

class Stream {
 public:
  // Allocates all memory that the stream will ever need. With `high_pass` the network gets the signal through a
  // HighPass. `wet` below 1 mixes in the input signal as it was before the filter. An aligned stream can follow the
  // gain of a band.
  Stream(std::shared_ptr<const Network> network, Timing timing, bool high_pass = true, int64_t channels = 1,
         Band band = {});

  // The largest number of samples that `feed` of `count` samples may return.
  int64_t room(int64_t count) const;
  // Takes `count` samples, writes the samples that are ready to `out` and returns their number. `out` must not overlap
  // `in`. Allocates nothing, locks nothing, calls no system function. Subnormal numbers count as zero during the call.
  // `gains`, if given, gets one number for each sample in `out`: the band's gain at that time, `wet` included. From
  // frame to frame it changes as the output of a band with such gains does.
  int64_t feed(const float* in, int64_t count, float* out, float* gains = nullptr);
  // The end of a signal: writes the remaining samples, at most kLatency, returns their number, and resets the stream.
  // The output of an aligned stream is then as long as the input. That of a live stream is kLatency samples longer.
  int64_t flush(float* out, float* gains = nullptr);
  void reset();

  // Another thread may use the stream while these three functions are called. A new setting takes effect from the next
  // frame on.
  void set_wet(float wet) { wet_.store(wet, std::memory_order_relaxed); }
  // Multiplies the minimum gain of the network, which must be known, by a factor from 0 to 1.
  void set_min_gain(float factor) { min_gain_.store(factor, std::memory_order_relaxed); }
  Faults faults() const {
    return {bad_samples_.load(std::memory_order_relaxed), bad_frames_.load(std::memory_order_relaxed)};
  }
  Timing timing() const { return timing_; }
  int64_t channels() const { return channels_; }
  static constexpr int64_t latency() { return kLatency; }
  const std::shared_ptr<const Network>& network() const { return network_; }

  // The stream's state: all that the future output depends on besides the future input. The numbers fit every
  // instruction set.
  int64_t size() const;
  void save(float* to) const;
  // Throws std::invalid_argument if no stream of this network and these settings can have saved these numbers. The
  // stream is then unchanged.
  void load(const float* from, int64_t count);
  // The number of samples that were taken and not returned, of the aligned stream that saved these numbers.
  static float pending(const float* from);

 private:
  friend class Cursor;

  void repair();
  void put_back(const Frame& frame);
  void follow(const Frame& frame);

  std::shared_ptr<const Network> network_;
  std::unique_ptr<State> state_;
  const Timing timing_;
  const bool high_pass_;
  const int64_t channels_;
  const Band band_;
  std::atomic<float> wet_ = 1, min_gain_ = 1;
  std::atomic<int64_t> bad_samples_ = 0, bad_frames_ = 0;
  static_assert(std::atomic<float>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);
  using Samples = std::vector<float>;              // of a frame, channel by channel
  std::vector<HighPass> filters_;                  // one for each channel
  Samples removed_, removed_before_;               // their part of `pending_`, and of the frame before
  float dry_before_ = 0;                           // 1 - wet of the frame before
  Samples pending_;                                // of the incomplete frame, after the high-pass filter
  Samples ready_;                                  // the last frame's output
  float smooth_ = 0, gain_before_ = 0, gain_ = 0;  // the band's gain: smoothed; with `wet`, of two frames
  int64_t filled_ = 0;                             // the number of pending samples
  bool begun_ = false;                             // whether a frame has been completed since the beginning
  std::vector<float> rise_;                        // the share of a frame's gain in its first samples
};

// Stream::feed for n streams of one network. Each stream has its own `count`. `written` gets the return value of each
// call. The results are the same to the bit. Streams whose frames are complete at the same time share the reading of
// weights. `gains`, or one of the pointers there, can be null.
void feed(Stream* const* streams, const float* const* in, const int64_t* count, float* const* out, float* const* gains,
          int64_t* written, int64_t n);

}  // namespace lite_rtse::stream
