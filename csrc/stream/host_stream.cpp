#include "host_stream.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "flush_subnormals.h"

namespace lite_rtse::stream {
namespace {

constexpr float kLoudest = 1e30f;            // louder samples count as this, so that no sum of the filters overflows
constexpr int64_t kHeader = 3;               // saved numbers before those of the Stream: version, rate, timing
constexpr int64_t kMostGiven = kWindow + 8;  // that a Stream returns for a piece, and for a flush

Band highest_quarter(int64_t rate_hz) {
  if (rate_hz == kSampleRateHz) return {};
  const int64_t last = std::min(rate_hz, kSampleRateHz) * kWindow / (2 * kSampleRateHz);  // at half the lower rate
  return {last * 3 / 4, last + 1};
}

}  // namespace

HostStream::HostStream(std::shared_ptr<const Network> network, Timing timing, bool high_pass, int64_t rate_hz,
                       int64_t channels)
    : timing_(timing), rate_hz_(rate_hz),
      stream_(std::move(network), rate_hz == kSampleRateHz ? timing : Timing::aligned, high_pass, channels,
              highest_quarter(rate_hz)) {
  if (!converts()) return;
  const auto there = conversion(rate_hz, kSampleRateHz), back = conversion(kSampleRateHz, rate_hz);
  const int64_t host = there->in_step, own = there->out_step;
  // The least delay with which a sample is ready for any division into blocks. The last `there->taps` samples can be
  // missing at 16 kHz, then at most 511 in the Stream, then the last `back->taps` of its output. The filters' centers
  // lie half their lengths before.
  const int64_t missing = (kWindow - 1 + back->taps) * own - there->half - back->half - 1;
  latency_ = there->taps - 1 + (missing + host - 1) / host;
  piece_ = std::max<int64_t>(1, kHop * rate_hz / kSampleRateHz);
  const int64_t early = timing == Timing::live ? latency_ * host : 0;
  most_heard_ = piece_ * host / own + 2;
  there_.assign(channels, Resampler(there, 0, piece_));
  back_.assign(channels, Resampler(back, early, 2 * kMostGiven));
  dry_.assign(channels, Fifo(2 * (latency_ + piece_)));
  heard_.assign(channels, Fifo(kMostGiven + most_heard_));
  gains_ = Fifo(std::max(back_[0].zeros(), back->taps) + 2 * kMostGiven);
  scratch_in_.resize(channels * most_heard_);
  scratch_out_.resize(channels * kMostGiven);
  scratch_gains_.resize(kMostGiven);
  reset();
}

void HostStream::reset() {
  stream_.reset();
  if (!converts()) return;
  for (auto* resamplers : {&there_, &back_})
    for (Resampler& resampler : *resamplers) resampler.restart();
  for (Fifo& dry : dry_) dry.restart(timing_ == Timing::live ? latency_ : 0);
  for (Fifo& heard : heard_) heard.restart(0);
  gains_.restart(back_[0].zeros());
}

Faults HostStream::faults() const {
  Faults faults = stream_.faults();
  faults.samples += bad_samples_.load(std::memory_order_relaxed);
  return faults;
}

int64_t HostStream::room(int64_t count) const {
  if (!converts()) return stream_.room(count);
  return timing_ == Timing::live ? count : dry_[0].size() + count;
}

// Takes a piece of the signal, and returns the number of samples at 16 kHz in `scratch_in_`.
int64_t HostStream::take(const float* in, int64_t count) {
  const int64_t channels = this->channels();
  int64_t bad = 0;
  for (int64_t c = 0; c < channels; ++c) {
    float *x = dry_[c].extend(count), *to = there_[c].push(count);
    for (int64_t i = 0; i < count; ++i) {
      const float sample = in[i * channels + c];
      const bool finite = std::isfinite(sample);
      x[i] = to[i] = finite ? std::clamp(sample, -kLoudest, kLoudest) : 0.0f;
      bad += !finite;
    }
  }
  if (bad > 0) bad_samples_.fetch_add(bad, std::memory_order_relaxed);
  return convert(most_heard_);
}

// Converts to 16 kHz what is ready, at most so many samples.
int64_t HostStream::convert(int64_t most) {
  const int64_t channels = this->channels();
  int64_t converted = 0;
  for (; converted < most && there_[0].ready(); ++converted)
    for (int64_t c = 0; c < channels; ++c)
      *heard_[c].extend(1) = scratch_in_[converted * channels + c] = there_[c].pull();
  return converted;
}

// Takes `count` enhanced samples and gains from the scratch memory.
void HostStream::enhanced(int64_t count) {
  const int64_t channels = this->channels();
  std::copy_n(scratch_gains_.data(), count, gains_.extend(count));
  for (int64_t c = 0; c < channels; ++c) {
    float* to = back_[c].push(count);
    const float* heard = heard_[c].front();
    for (int64_t i = 0; i < count; ++i) to[i] = scratch_out_[i * channels + c] - scratch_gains_[i] * heard[i];
    heard_[c].drop(count);
  }
}

// Writes what is ready, at most so many samples.
int64_t HostStream::give(float* out, int64_t most) {
  const int64_t channels = this->channels();
  int64_t given = 0;
  for (; given < most && back_[0].ready(); ++given) {
    const Resampler::Place place = back_[0].place();
    const float *gains = gains_.front() + place.whole, gain = gains[0] + place.part * (gains[1] - gains[0]);
    const int64_t before = back_[0].waiting();
    for (int64_t c = 0; c < channels; ++c) {
      *out++ = back_[c].pull() + gain * *dry_[c].front();
      dry_[c].drop(1);
    }
    gains_.drop(before - back_[0].waiting());
  }
  return given;
}

// Begins a piece of `count` samples. At 16 kHz the Stream reads `in` and writes to `out` itself.
HostStream::Piece HostStream::begin(const float* in, int64_t count, float* out) {
  if (!converts()) return {in, out, nullptr, count};
  return {scratch_in_.data(), scratch_out_.data(), scratch_gains_.data(), take(in, count)};
}

// Ends a piece of `taken` samples, for which the Stream gave `given`. Returns the number of samples in `out`.
int64_t HostStream::end(int64_t given, int64_t taken, float* out) {
  if (!converts()) return given;
  enhanced(given);
  return give(out, timing_ == Timing::live ? taken : dry_[0].size());
}

void feed(HostStream* const* streams, const float* const* in, const int64_t* count, float* const* out, int64_t* written,
          int64_t n) {
  const FlushSubnormals flush;
  for (int64_t first = 0; first < n; first += kMostStreams) {
    const int64_t some = std::min(kMostStreams, n - first);
    int64_t taken[kMostStreams] = {};
    std::fill_n(written + first, some, 0);
    for (;;) {
      // One piece of each stream that has samples left. Complete frames then share the reading of weights.
      Stream* inner[kMostStreams];
      const float* from[kMostStreams];
      float *to[kMostStreams], *gains[kMostStreams];
      int64_t sizes[kMostStreams], given[kMostStreams], whose[kMostStreams], pieces[kMostStreams], busy = 0;
      for (int64_t i = 0; i < some; ++i) {
        const int64_t k = first + i, size = std::min(streams[k]->piece_, count[k] - taken[i]);
        if (size <= 0) continue;
        HostStream& s = *streams[k];
        const HostStream::Piece piece =
            s.begin(in[k] + taken[i] * s.channels(), size, out[k] + written[k] * s.channels());
        taken[i] += size;
        inner[busy] = &s.stream_;
        from[busy] = piece.in;
        to[busy] = piece.out;
        gains[busy] = piece.gains;
        sizes[busy] = piece.count;
        whose[busy] = k;
        pieces[busy++] = size;
      }
      if (busy == 0) break;
      feed(inner, from, sizes, to, gains, given, busy);
      for (int64_t i = 0; i < busy; ++i) {
        const int64_t k = whose[i];
        HostStream& s = *streams[k];
        written[k] += s.end(given[i], pieces[i], out[k] + written[k] * s.channels());
      }
    }
  }
}

int64_t HostStream::feed(const float* in, int64_t count, float* out) {
  HostStream* self = this;
  int64_t written = 0;
  stream::feed(&self, &in, &count, &out, &written, 1);
  return written;
}

int64_t HostStream::flush(float* out) {
  if (!converts()) return stream_.flush(out);
  const FlushSubnormals flush;
  const int64_t channels = this->channels(), due = dry_[0].size();
  // Silence drives the rest of the signal through the first filter.
  const Phases& there = there_[0].phases();
  for (int64_t left = (there_[0].behind() + there.out_step - 1) / there.out_step; left > 0;) {
    for (Resampler& resampler : there_) std::fill_n(resampler.push(piece_), piece_, 0.0f);
    const int64_t some = convert(std::min(left, most_heard_));
    left -= some;
    enhanced(stream_.feed(scratch_in_.data(), some, scratch_out_.data(), scratch_gains_.data()));
  }
  enhanced(stream_.flush(scratch_out_.data(), scratch_gains_.data()));
  const float last = gains_.front()[gains_.size() - 1];
  for (int64_t done = give(out, due); done < due; done += give(out + done * channels, due - done)) {
    for (Resampler& back : back_) std::fill_n(back.push(kHop), kHop, 0.0f);
    std::fill_n(gains_.extend(kHop), kHop, last);
  }
  reset();
  return due;
}

// The saved form: kHeader numbers, the Stream, and all that waits.
int64_t HostStream::size() const {
  int64_t size = kHeader + stream_.size();
  if (!converts()) return size;
  for (const auto* resamplers : {&there_, &back_}) size += channels() * (*resamplers)[0].saved_size();
  for (const auto* fifos : {&dry_, &heard_}) size += channels() * (*fifos)[0].saved_size();
  return size + gains_.saved_size();
}

void HostStream::save(float* to) const {
  *to++ = kStateVersion;
  *to++ = float(rate_hz_);
  *to++ = float(timing_);
  stream_.save(to);
  if (!converts()) return;
  to += stream_.size();
  for (const auto* resamplers : {&there_, &back_})
    for (const Resampler& resampler : *resamplers) {
      resampler.save(to);
      to += resampler.saved_size();
    }
  for (const auto* fifos : {&dry_, &heard_})
    for (const Fifo& fifo : *fifos) {
      fifo.save(to);
      to += fifo.saved_size();
    }
  gains_.save(to);
}

// Whether these numbers, of all that waits, can be those of a stream like this one whose Stream has `pending` samples.
bool HostStream::fits(const float* waiting, float pending) const {
  const int64_t channels = this->channels();
  const float *there = waiting, *back = there + channels * there_[0].saved_size(),
              *dry = back + channels * back_[0].saved_size(), *heard = dry + channels * dry_[0].saved_size(),
              *gains = heard + channels * heard_[0].saved_size(), *end = gains + gains_.saved_size();
  // Of each channel as of the first.
  for (int64_t c = 0; c < channels; ++c) {
    const float *t = there + c * there_[0].saved_size(), *b = back + c * back_[0].saved_size();
    if (!std::equal(t, t + 2, there) || !std::equal(b, b + 2, back) || dry[c * dry_[0].saved_size()] != *dry ||
        heard[c * heard_[0].saved_size()] != *heard)
      return false;
  }
  if (!there_[0].fits(there) || !back_[0].fits(back) || !dry_[0].fits(dry) || !heard_[0].fits(heard)) return false;
  // The times of all that waits are those of one signal.
  const Phases &to = there_[0].phases(), &from = back_[0].phases();
  const int64_t missing = there_[0].behind(there) + int64_t(*heard) * to.out_step + back_[0].behind(back);
  const bool waits = there[1] < float(to.taps) && *heard == pending && *gains == back[1] &&
                     int64_t(*dry) * to.in_step == missing && int64_t(*dry) <= latency_ &&
                     (timing_ == Timing::live ? *dry == float(latency_) : back[1] < float(from.taps));
  return waits && std::all_of(waiting, end, [](float x) { return std::abs(x) <= 2 * kLoudest; }) &&
         std::all_of(gains + 1, end, [](float x) { return x >= 0 && x <= 1; });
}

void HostStream::load(const float* from, int64_t count) {
  if (count < kHeader) throw std::invalid_argument("holds " + std::to_string(count) + " numbers only");
  if (from[0] != kStateVersion)
    throw std::invalid_argument("was saved in another format, by another version of this package");
  if (from[1] != float(rate_hz_)) throw std::invalid_argument("was saved at another sample rate");
  if (from[2] != float(timing_)) throw std::invalid_argument("was saved with another timing");
  from += kHeader;
  if (!converts()) return stream_.load(from, count - kHeader);
  if (count != size()) throw std::invalid_argument("is of another network, or another number of linked channels");
  const float* waiting = from + stream_.size();
  if (!fits(waiting, Stream::pending(from))) throw std::invalid_argument("is damaged");
  stream_.load(from, stream_.size());
  for (auto* resamplers : {&there_, &back_})
    for (Resampler& resampler : *resamplers) {
      resampler.load(waiting);
      waiting += resampler.saved_size();
    }
  for (auto* fifos : {&dry_, &heard_})
    for (Fifo& fifo : *fifos) {
      fifo.load(waiting);
      waiting += fifo.saved_size();
    }
  gains_.load(waiting);
}

}  // namespace lite_rtse::stream
