#include "stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "flush_subnormals.h"

namespace lite_rtse::stream {
namespace {

// The number of values before those of the high-pass filter in a saved stream. The first value is kStateVersion.
constexpr int64_t kHeader = 9;
constexpr int64_t kSettings = 4;  // numbers after those of the high-pass filters, from 0 to 1

constexpr float kMost = std::numeric_limits<float>::max();

}  // namespace

// A stream and the progress of one call of feed.
class Cursor {
 public:
  Cursor() = default;
  Cursor(Stream& s, const float* in, int64_t count, float* out, float* gains)
      : s_(&s), in_(in), left_(count), out_(out), gains_(gains) {}

  // Takes samples until a frame is complete; returns false if the samples end before that.
  bool fill() {
    const int64_t n = std::min(kHop - s_->filled_, left_), channels = s_->channels_;
    int64_t bad = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t at = c * kHop + s_->filled_;
      float* to = s_->pending_.data() + at;
      for (int64_t i = 0; i < n; ++i) {
        const float sample = in_[i * channels + c];
        const bool finite = std::isfinite(sample);
        to[i] = finite ? sample : 0.0f;
        bad += !finite;
      }
      if (s_->high_pass_) s_->filters_[c].run(to, s_->removed_.data() + at, n);
    }
    if (bad > 0) s_->bad_samples_.fetch_add(bad, std::memory_order_relaxed);
    if (s_->timing_ == Timing::live) give(s_->filled_, n);
    in_ += n * channels;
    left_ -= n;
    s_->filled_ += n;
    return s_->filled_ == kHop;
  }

  Frame frame() const {
    const float wet = s_->wet_.load(std::memory_order_relaxed),
                min_gain = s_->min_gain_.load(std::memory_order_relaxed);
    return {s_->state_.get(), s_->pending_.data(), s_->ready_.data(), wet, min_gain, s_->band_, 0.0f, true};
  }

  void finish(const Frame& frame) {
    if (!frame.finite)
      s_->repair();
    else if (s_->high_pass_)
      s_->put_back(frame);
    s_->follow(frame);
    // The output of the first frame lies before the beginning of the signal. An aligned stream leaves it out.
    if (!s_->begun_) std::fill(s_->ready_.begin(), s_->ready_.end(), 0.0f);
    if (s_->begun_ && s_->timing_ == Timing::aligned) give(0, kHop);
    s_->filled_ = 0;
    s_->begun_ = true;
  }

  int64_t written() const { return written_; }

 private:
  // Returns n samples of the last frame's output.
  void give(int64_t from, int64_t n) {
    const int64_t channels = s_->channels_;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < n; ++i) out_[i * channels + c] = s_->ready_[c * kHop + from + i];
    out_ += n * channels;
    written_ += n;
    if (!gains_) return;
    for (int64_t i = 0; i < n; ++i) *gains_++ = s_->gain_before_ + s_->rise_[from + i] * (s_->gain_ - s_->gain_before_);
  }

  Stream* s_ = nullptr;
  const float* in_ = nullptr;
  int64_t left_ = 0, written_ = 0;
  float *out_ = nullptr, *gains_ = nullptr;
};

void feed(Stream* const* streams, const float* const* in, const int64_t* count, float* const* out, float* const* gains,
          int64_t* written, int64_t n) {
  const FlushSubnormals flush;
  for (int64_t first = 0; first < n; first += kMostStreams) {
    const int64_t some = std::min(kMostStreams, n - first);
    Cursor cursors[kMostStreams];
    for (int64_t i = 0; i < some; ++i)
      cursors[i] = Cursor(*streams[first + i], in[first + i], count[first + i], out[first + i],
                          gains ? gains[first + i] : nullptr);
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

Stream::Stream(std::shared_ptr<const Network> network, Timing timing, bool high_pass, int64_t channels, Band band)
    : network_(std::move(network)), state_(network_->make_state(channels)), timing_(timing), high_pass_(high_pass),
      channels_(channels), band_(band), filters_(channels), removed_(channels * kHop), removed_before_(channels * kHop),
      pending_(channels * kHop), ready_(channels * kHop), rise_(kHop) {
  for (int64_t i = 0; i < kHop; ++i) {
    const double window = std::sin(3.14159265358979323846 * double(i) / double(kWindow));
    rise_[i] = float(window * window);
  }
}

int64_t Stream::room(int64_t count) const { return timing_ == Timing::live ? count : (filled_ + count) / kHop * kHop; }

int64_t Stream::feed(const float* in, int64_t count, float* out, float* gains) {
  Stream* self = this;
  int64_t written = 0;
  stream::feed(&self, &in, &count, &out, &gains, &written, 1);
  return written;
}

int64_t Stream::flush(float* out, float* gains) {
  // Samples of the signal that were not returned: those that came in since the last frame, and that frame's last half.
  const int64_t due = timing_ == Timing::live ? kLatency : filled_ + (begun_ ? kHop : 0);
  // The silence is not part of the signal: it must not look like a step away from the signal's mean.
  std::fill(filters_.begin(), filters_.end(), HighPass());
  static constexpr float kSilence[kMostStreamChannels] = {};
  int64_t left = timing_ == Timing::live ? kLatency : due == 0 ? 0 : (filled_ > 0 ? kHop - filled_ : 0) + kHop;
  for (; left > 0; --left) {
    const int64_t written = feed(kSilence, 1, out, gains);
    out += written * channels_;
    if (gains) gains += written;
  }
  reset();
  return due;
}

void Stream::reset() {
  state_->clear();
  std::fill(filters_.begin(), filters_.end(), HighPass());
  for (Samples* part : {&removed_, &removed_before_, &pending_, &ready_}) std::fill(part->begin(), part->end(), 0.0f);
  dry_before_ = smooth_ = gain_before_ = gain_ = 0;
  filled_ = 0;
  begun_ = false;
}

void Stream::repair() {
  std::fill(ready_.begin(), ready_.end(), 0.0f);
  state_->clear();
  std::fill(filters_.begin(), filters_.end(), HighPass());
  std::fill(removed_before_.begin(), removed_before_.end(), 0.0f);
  bad_frames_.fetch_add(1, std::memory_order_relaxed);
}

// The output contains a share of the network's input signal. This function adds the same share of the part that the
// high-pass filter removed. If the share has changed, it is ramped over the frame, as the network's windows do.
void Stream::put_back(const Frame& frame) {
  const float dry = 1 - frame.wet, step = (dry - dry_before_) / kHop;
  if (dry > 0 || dry_before_ > 0)
    for (size_t i = 0; i < ready_.size(); ++i) {
      const float share = dry_before_ + step * float(i % kHop);
      ready_[i] = std::clamp(ready_[i] + share * removed_before_[i], -kMost, kMost);
    }
  dry_before_ = dry;
  std::copy(removed_.begin(), removed_.end(), removed_before_.begin());
}

// The band's gain follows a rise at once. It falls to a half at most from frame to frame, so that the end of a sound is
// not cut. It never amplifies. A frame that overflowed is silent.
void Stream::follow(const Frame& frame) {
  gain_before_ = gain_;
  if (!frame.finite)
    smooth_ = 0;
  else if (frame.gain >= 0)
    smooth_ = std::max(std::min(frame.gain, 1.0f), smooth_ / 2);
  gain_ = frame.finite ? 1 + frame.wet * (smooth_ - 1) : 0;
}

int64_t Stream::size() const { return kHeader + channels_ * (HighPass::kSize + 4 * kHop) + kSettings + state_->size(); }

void Stream::save(float* to) const {
  const Config& c = network_->config();
  const float header[kHeader] = {kStateVersion,      float(c.channels), float(c.order),
                                 float(c.depthwise), float(timing_),    float(high_pass_),
                                 float(channels_),   float(filled_),    float(begun_)};
  to = std::copy_n(header, kHeader, to);
  for (const HighPass& filter : filters_) {
    filter.save(to);
    to += HighPass::kSize;
  }
  for (float setting : {dry_before_, smooth_, gain_before_, gain_}) *to++ = setting;
  for (const Samples* part : {&removed_, &removed_before_, &pending_, &ready_})
    to = std::copy(part->begin(), part->end(), to);
  state_->save(to);
}

float Stream::pending(const float* from) { return from[7] + from[8] * float(kHop); }

void Stream::load(const float* from, int64_t count) {
  const Config& c = network_->config();
  if (count > 0 && from[0] != kStateVersion)
    throw std::invalid_argument("was saved in another format, by another version of this package");
  if (count != size())
    throw std::invalid_argument("holds " + std::to_string(count) + " numbers instead of " + std::to_string(size()) +
                                ": it is of another network");
  const float own[6] = {float(c.channels), float(c.order),    float(c.depthwise),
                        float(timing_),    float(high_pass_), float(channels_)};
  const char* names[6] = {"channels", "order", "Conv-Blocks", "timing", "high-pass", "number of linked channels"};
  for (int i = 0; i < 6; ++i)
    if (!(from[1 + i] == own[i])) throw std::invalid_argument(std::string("was saved with another ") + names[i]);
  const float filled = from[7], begun = from[8];
  bool fits = filled >= 0 && filled < float(kHop) && filled == std::floor(filled) && (begun == 0 || begun == 1);
  const float *filters = from + kHeader, *settings = filters + channels_ * HighPass::kSize;
  for (int64_t i = 0; i < channels_; ++i) fits = fits && HighPass::fits(filters + i * HighPass::kSize);
  for (int64_t i = 0; i < kSettings; ++i) fits = fits && settings[i] >= 0 && settings[i] <= 1;
  if (!fits || !std::all_of(from, from + count, [](float x) { return std::isfinite(x); }))
    throw std::invalid_argument("is damaged");
  filled_ = int64_t(filled);
  begun_ = begun == 1;
  for (HighPass& filter : filters_) {
    filter.load(filters);
    filters += HighPass::kSize;
  }
  for (float* setting : {&dry_before_, &smooth_, &gain_before_, &gain_}) *setting = *settings++;
  for (Samples* part : {&removed_, &removed_before_, &pending_, &ready_}) {
    std::copy_n(settings, part->size(), part->begin());
    settings += part->size();
  }
  state_->load(settings);
}

}  // namespace lite_rtse::stream
