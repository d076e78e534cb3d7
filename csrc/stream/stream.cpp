#include "stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace lite_rtse::stream {
namespace {

// While an object of this class exists, subnormal numbers are read and written as zero. Arithmetic on subnormal numbers
// takes a hundred times as long. A signal that fades to silence fills every state of the network with them.
class FlushSubnormals {
 public:
#if defined(__x86_64__)
  FlushSubnormals() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | kFlushResults | kZeroInputs);
  }
  ~FlushSubnormals() { __builtin_ia32_ldmxcsr(before_); }

 private:
  static constexpr unsigned kFlushResults = 0x8000, kZeroInputs = 0x0040;
  const unsigned before_;
#elif defined(__aarch64__)
  FlushSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | kFlushBoth));
  }
  ~FlushSubnormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  static constexpr uint64_t kFlushBoth = uint64_t(1) << 24;
  uint64_t before_;
#else
 public:
  FlushSubnormals() {}
  ~FlushSubnormals() {}
#endif
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;
};

// The number of values before those of the high-pass filter in a saved stream. The first value is the version of the
// format.
constexpr int64_t kHeader = 8;
constexpr float kVersion = 2;

constexpr float kMost = std::numeric_limits<float>::max();

}  // namespace

// A stream and the progress of one call of feed.
class Cursor {
 public:
  Cursor() = default;
  Cursor(Stream& s, const float* in, int64_t count, float* out)
      : s_(&s), in_(in), left_(count), out_(out), begin_(out) {}

  // Takes samples until a frame is complete; returns false if the samples end before that.
  bool fill() {
    const int64_t n = std::min(kHop - s_->filled_, left_);
    float* to = s_->pending_ + s_->filled_;
    int64_t bad = 0;
    for (int64_t i = 0; i < n; ++i) {
      const bool finite = std::isfinite(in_[i]);
      to[i] = finite ? in_[i] : 0.0f;
      bad += !finite;
    }
    if (bad > 0) s_->bad_samples_.fetch_add(bad, std::memory_order_relaxed);
    if (s_->high_pass_) s_->filter_.run(to, s_->removed_ + s_->filled_, n);
    if (s_->timing_ == Timing::live) out_ = std::copy_n(s_->ready_ + s_->filled_, n, out_);
    in_ += n;
    left_ -= n;
    s_->filled_ += n;
    return s_->filled_ == kHop;
  }

  Frame frame() const {
    // The output of the first frame lies before the beginning of the signal. An aligned stream leaves it out.
    const bool direct = s_->timing_ == Timing::aligned && s_->begun_;
    return {s_->state_.get(), s_->pending_, direct ? out_ : s_->ready_, s_->wet_.load(std::memory_order_relaxed), true};
  }

  void finish(const Frame& frame) {
    if (!frame.finite)
      s_->repair(frame);
    else if (s_->high_pass_)
      s_->put_back(frame);
    if (frame.out == out_) out_ += kHop;
    if (!s_->begun_) std::fill_n(s_->ready_, kHop, 0.0f);
    s_->filled_ = 0;
    s_->begun_ = true;
  }

  int64_t written() const { return out_ - begin_; }

 private:
  Stream* s_ = nullptr;
  const float* in_ = nullptr;
  int64_t left_ = 0;
  float *out_ = nullptr, *begin_ = nullptr;
};

void feed(Stream* const* streams, const float* const* in, const int64_t* count, float* const* out, int64_t* written,
          int64_t n) {
  const FlushSubnormals flush;
  for (int64_t first = 0; first < n; first += kMostStreams) {
    const int64_t some = std::min(kMostStreams, n - first);
    Cursor cursors[kMostStreams];
    for (int64_t i = 0; i < some; ++i)
      cursors[i] = Cursor(*streams[first + i], in[first + i], count[first + i], out[first + i]);
    for (;;) {
      Frame frames[kMostStreams];
      Cursor* whose[kMostStreams];
      int64_t complete = 0;
      for (int64_t i = 0; i < some; ++i)
        if (cursors[i].fill()) {
          whose[complete] = &cursors[i];
          frames[complete++] = cursors[i].frame();
        }
      if (complete == 0) break;
      streams[first]->network()->step(frames, complete);
      for (int64_t i = 0; i < complete; ++i) whose[i]->finish(frames[i]);
    }
    for (int64_t i = 0; i < some; ++i) written[first + i] = cursors[i].written();
  }
}

Stream::Stream(std::shared_ptr<const Network> network, Timing timing, bool high_pass)
    : network_(std::move(network)), state_(network_->make_state()), timing_(timing), high_pass_(high_pass) {}

int64_t Stream::room(int64_t count) const { return timing_ == Timing::live ? count : (filled_ + count) / kHop * kHop; }

int64_t Stream::feed(const float* in, int64_t count, float* out) {
  Stream* self = this;
  int64_t written = 0;
  stream::feed(&self, &in, &count, &out, &written, 1);
  return written;
}

int64_t Stream::flush(float* out) {
  static constexpr float kSilence[2 * kHop] = {};
  int64_t due = kLatency;
  filter_ = {};  // the silence is not part of the signal: it must not look like a step away from the signal's mean
  if (timing_ == Timing::live) {
    feed(kSilence, kLatency, out);
  } else {
    due = filled_ + (begun_ ? kHop : 0);  // the samples that came in since, and the frame that waits for its other half
    if (due > 0) feed(kSilence, (filled_ > 0 ? kHop - filled_ : 0) + kHop, out);
  }
  reset();
  return due;
}

void Stream::reset() {
  state_->clear();
  filter_ = {};
  std::fill_n(removed_, kHop, 0.0f);
  std::fill_n(removed_before_, kHop, 0.0f);
  dry_before_ = 0;
  std::fill_n(pending_, kHop, 0.0f);
  std::fill_n(ready_, kHop, 0.0f);
  filled_ = 0;
  begun_ = false;
}

void Stream::repair(const Frame& frame) {
  std::fill_n(frame.out, kHop, 0.0f);
  state_->clear();
  filter_ = {};
  std::fill_n(removed_before_, kHop, 0.0f);
  bad_frames_.fetch_add(1, std::memory_order_relaxed);
}

// The output contains a share of the network's input signal. This function adds the same share of the part that the
// high-pass filter removed. If the share has changed, it is ramped over the frame, as the network's windows do.
void Stream::put_back(const Frame& frame) {
  const float dry = 1 - frame.wet, step = (dry - dry_before_) / kHop;
  if (dry > 0 || dry_before_ > 0)
    for (int64_t i = 0; i < kHop; ++i)
      frame.out[i] = std::clamp(frame.out[i] + (dry_before_ + step * float(i)) * removed_before_[i], -kMost, kMost);
  dry_before_ = dry;
  std::copy_n(removed_, kHop, removed_before_);
}

int64_t Stream::size() const { return kHeader + HighPass::kSize + 1 + 4 * kHop + state_->size(); }

void Stream::save(float* to) const {
  const Config& c = network_->config();
  const float header[kHeader] = {kVersion,       float(c.channels), float(c.order), float(c.depthwise),
                                 float(timing_), float(high_pass_), float(filled_), float(begun_)};
  to = std::copy_n(header, kHeader, to);
  filter_.save(to);
  to += HighPass::kSize;
  *to++ = dry_before_;
  for (const float* part : {removed_, removed_before_, pending_, ready_}) to = std::copy_n(part, kHop, to);
  state_->save(to);
}

void Stream::load(const float* from, int64_t count) {
  const Config& c = network_->config();
  if (count > 0 && from[0] != kVersion)
    throw std::invalid_argument("was saved in another format, by another version of this package");
  if (count != size())
    throw std::invalid_argument("holds " + std::to_string(count) + " numbers instead of " + std::to_string(size()) +
                                ": it is of another network");
  const float own[5] = {float(c.channels), float(c.order), float(c.depthwise), float(timing_), float(high_pass_)};
  const char* names[5] = {"channels", "order", "Conv-Blocks", "timing", "high-pass"};
  for (int i = 0; i < 5; ++i)
    if (!(from[1 + i] == own[i])) throw std::invalid_argument(std::string("was saved with another ") + names[i]);
  const float filled = from[6], begun = from[7];
  const bool counts = filled >= 0 && filled < float(kHop) && filled == std::floor(filled) && (begun == 0 || begun == 1);
  const float dry = from[kHeader + HighPass::kSize];
  if (!counts || !HighPass::fits(from + kHeader) || !(dry >= 0 && dry <= 1) ||
      !std::all_of(from, from + count, [](float x) { return std::isfinite(x); }))
    throw std::invalid_argument("is damaged");
  filled_ = int64_t(filled);
  begun_ = begun == 1;
  from += kHeader;
  filter_.load(from);
  from += HighPass::kSize;
  dry_before_ = *from++;
  for (float* part : {removed_, removed_before_, pending_, ready_}) {
    std::copy_n(from, kHop, part);
    from += kHop;
  }
  state_->load(from);
}

}  // namespace lite_rtse::stream
