// Conversion of a stream between two sample rates, by a windowed sinc with linear phase.
//
// Times are whole numbers of a unit in which the samples of both rates lie: the input's samples are `in_step` units
// apart, the output's are `out_step`. No time is ever rounded, whatever the rates and however long the stream.
//
// The filter is a sinc under a Kaiser window. Kaiser's formulas give its length and shape from the attenuation and the
// width of the transition. An output sample is the sum of the input samples around it, each times the filter at its
// distance. The distances repeat, so a table holds them: one row for each phase. If the ratio of the rates has more
// than kMostPhases phases, the table has kMostPhases, and the filter is interpolated between two rows. This errs by
// less than -100 dB.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace lite_rtse::stream {

// A low-pass filter: it attenuates by kStopDb what lies above `stop_hz`, and passes what lies below
// `stop_hz - width_hz`.
struct LowPass {
  static constexpr double kStopDb = 82;  // the formulas are approximate: at least 80 dB are reached
  double stop_hz, width_hz;

  double half_length_s() const;  // from the filter's center to its end, which is also its delay
  double at(double time_s) const;
};

// Numbers in the order of their arrival, at most `most`. They are contiguous.
class Fifo {
 public:
  explicit Fifo(int64_t most) : most_(most), numbers_(2 * most + kAfter) {}
  void restart(int64_t zeros);
  int64_t size() const { return end_ - begin_; }
  const float* front() const { return numbers_.data() + begin_; }  // kAfter finite numbers follow the last one
  float* extend(int64_t count);
  void drop(int64_t count) { begin_ += count; }

  int64_t saved_size() const { return 1 + most_; }
  void save(float* to) const;
  bool fits(const float* from) const;  // whether `load` accepts these numbers, all of which are finite
  void load(const float* from);

  static constexpr int64_t kAfter = 16;

 private:
  int64_t most_, begin_ = 0, end_ = 0;
  std::vector<float> numbers_;
};

// The table of a conversion. Any number of resamplers share it.
class Phases {
 public:
  static constexpr int64_t kMostPhases = 512;
  Phases(int64_t in_step, int64_t out_step, double units_per_s, const LowPass& filter);

  const int64_t in_step, out_step;
  const int64_t half;  // half the filter's length, in units
  const int64_t taps;  // the input samples of an output sample

 private:
  friend class Resampler;
  const int64_t count_, padded_;
  std::vector<float> rows_;  // row p: the filter from its first tap on, which lies p / count_ steps after its start
};

// The table of all conversions between these rates. Its stop band begins at half the lower rate.
std::shared_ptr<const Phases> conversion(int64_t from_hz, int64_t to_hz);

class Resampler {
 public:
  // The first input sample has time 0, and zeros are before it. The first output sample has time -`early`. At most
  // `most` input samples wait besides those of the next output sample.
  Resampler(std::shared_ptr<const Phases> phases, int64_t early, int64_t most);

  void restart();
  float* push(int64_t count) { return waiting_.extend(count); }
  bool ready() const { return waiting_.size() >= phases_->taps; }
  float pull();  // the next output sample, which must be ready

  // The place of the next output sample: `whole` waiting input samples are before the last one that is not later, and
  // `part` is the time since that one, in steps.
  struct Place {
    int64_t whole;
    float part;
  };
  Place place() const;
  int64_t waiting() const { return waiting_.size(); }
  int64_t zeros() const { return zeros_; }  // that wait at the beginning
  // The time from the next output sample to the next input sample.
  int64_t behind() const { return waiting_.size() * phases_->in_step + phase_ - phases_->half; }

  int64_t saved_size() const { return 1 + waiting_.saved_size(); }
  void save(float* to) const;
  bool fits(const float* from) const;
  void load(const float* from);
  int64_t behind(const float* from) const;  // of the resampler that saved these numbers
  const Phases& phases() const { return *phases_; }

 private:
  std::shared_ptr<const Phases> phases_;
  float (*dot_)(const float*, const float*, int64_t);
  int64_t zeros_, first_phase_;
  int64_t phase_;  // from the filter's start to its first tap, in units
  Fifo waiting_;   // from the first tap of the next output sample on
};

// Samples `first` to `first + count` of a whole signal after its conversion. Zeros are before and behind the signal.
void resample(const std::shared_ptr<const Phases>& phases, const float* in, int64_t size, int64_t first, int64_t count,
              float* out);

}  // namespace lite_rtse::stream
