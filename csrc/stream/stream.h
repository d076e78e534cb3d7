// A stream of samples through the network: pieces of any length in, enhanced samples out.
//
// Latency. A window of 512 samples is complete when its last sample is, so its first comes out 512 samples, 32 ms,
// after it went in. Outputs are whole frames; a stream either hands them on as they come (aligned: the first 256
// samples, which lie before the beginning, are left out, so that sample n of the output is sample n of the input,
// enhanced), or delayed so evenly that every call gives as many samples as it takes (live).
#pragma once

#include <atomic>
#include <memory>

#include "high_pass.h"
#include "network.h"

namespace lite_rtse::stream {

inline constexpr int64_t kLatency = kWindow;  // samples

enum class Timing { aligned, live };

// What went wrong in a stream so far, and was mended.
struct Faults {
  int64_t samples = 0;  // NaN or infinite samples, taken as 0
  int64_t frames = 0;   // frames in which a number overflowed: silence, and the memory of the past cleared
};

class Stream {
 public:
  // Everything a stream will ever need is allocated here. With `high_pass` the network hears the signal through a
  // HighPass; what is mixed in for `wet` below 1 is the signal as it came in.
  Stream(std::shared_ptr<const Network> network, Timing timing, bool high_pass = true);

  // At most how many samples `feed` of `count` samples, or `flush`, gives.
  int64_t room(int64_t count) const;
  // Takes `count` samples, writes those that are ready to `out` and returns how many. `out` must not overlap `in`.
  // Allocates nothing, locks nothing, calls no system function; subnormal numbers count as zero meanwhile.
  int64_t feed(const float* in, int64_t count, float* out);
  // The end of a signal: writes the samples still due, at most kLatency, returns how many, and resets. After it the
  // output of an aligned stream is as long as the input was, that of a live one kLatency samples longer.
  int64_t flush(float* out);
  void reset();

  // These two may be called while another thread uses the stream: what is set counts from the next frame on.
  void set_wet(float wet) { wet_.store(wet, std::memory_order_relaxed); }
  Faults faults() const {
    return {bad_samples_.load(std::memory_order_relaxed), bad_frames_.load(std::memory_order_relaxed)};
  }
  Timing timing() const { return timing_; }
  const std::shared_ptr<const Network>& network() const { return network_; }

  // All that the future output depends on besides what is still to come, as numbers that fit every instruction set.
  int64_t size() const;
  void save(float* to) const;
  // Throws std::invalid_argument where this can't have been saved by a stream of this network, timing and high-pass;
  // the stream is then as it was.
  void load(const float* from, int64_t count);

 private:
  friend class Cursor;

  void repair(const Frame& frame);
  void put_back(const Frame& frame);

  std::shared_ptr<const Network> network_;
  std::unique_ptr<State> state_;
  const Timing timing_;
  const bool high_pass_;
  std::atomic<float> wet_ = 1;
  std::atomic<int64_t> bad_samples_ = 0, bad_frames_ = 0;
  static_assert(std::atomic<float>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);
  HighPass filter_;
  float removed_[kHop] = {}, removed_before_[kHop] = {};  // what it took out of `pending_` and of the frame before
  float dry_before_ = 0;                                  // 1 - wet of the frame before
  float pending_[kHop] = {};  // samples of the frame that is not complete yet, behind the high-pass
  float ready_[kHop] = {};    // live: the last frame's output
  int64_t filled_ = 0;        // how many samples are pending
  bool begun_ = false;        // whether a frame was complete since the beginning
};

// Stream::feed for n streams of one network, each with its own `count`; `written` gets what each call would return. The
// results are the same to the bit, but streams whose frames are complete at the same time share the reading of weights.
void feed(Stream* const* streams, const float* const* in, const int64_t* count, float* const* out, int64_t* written,
          int64_t n);

}  // namespace lite_rtse::stream
