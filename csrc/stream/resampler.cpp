#include "resampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "network.h"

namespace lite_rtse::stream {
namespace {

constexpr double kTransitionHz = 600;  // of a filter's pass band to its stop band
constexpr double kPi = 3.14159265358979323846;

// The modified Bessel function of the first kind and order 0.
double bessel(double x) {
  double sum = 1, term = 1;
  for (int k = 1; term > 1e-17 * sum; ++k) {
    term *= (x / (2 * k)) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

}  // namespace

double LowPass::half_length_s() const { return (kStopDb - 7.95) / (2.285 * 2 * kPi * width_hz) / 2; }

double LowPass::at(double time_s) const {
  static constexpr double kShape = 0.1102 * (kStopDb - 8.7);
  const double place = time_s / half_length_s(), cutoff = 2 * (stop_hz - width_hz / 2), x = kPi * cutoff * time_s;
  if (std::abs(place) >= 1) return 0;
  return cutoff * (x == 0 ? 1 : std::sin(x) / x) * bessel(kShape * std::sqrt(1 - place * place)) / bessel(kShape);
}

void Fifo::restart(int64_t zeros) {
  std::fill(numbers_.begin(), numbers_.end(), 0.0f);
  begin_ = 0;
  end_ = zeros;
}

float* Fifo::extend(int64_t count) {
  if (end_ + count > 2 * most_) {
    std::copy(numbers_.begin() + begin_, numbers_.begin() + end_, numbers_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  end_ += count;
  return numbers_.data() + end_ - count;
}

void Fifo::save(float* to) const {
  *to++ = float(size());
  std::fill_n(std::copy_n(front(), size(), to), most_ - size(), 0.0f);
}

bool Fifo::fits(const float* from) const { return *from >= 0 && *from <= float(most_) && *from == std::floor(*from); }

void Fifo::load(const float* from) {
  restart(int64_t(*from));
  std::copy_n(from + 1, size(), numbers_.begin());
}

Phases::Phases(int64_t in_step, int64_t out_step, double units_per_s, const LowPass& filter)
    : in_step(in_step), out_step(out_step), half(int64_t(std::ceil(filter.half_length_s() * units_per_s))),
      taps(ceil_div(2 * half, in_step)), count_(std::min(in_step, kMostPhases)),
      padded_(ceil_div(taps, Fifo::kAfter) * Fifo::kAfter), rows_((count_ + 1) * padded_) {
  const double step_s = double(in_step) / units_per_s;
  for (int64_t p = 0; p <= count_; ++p)
    for (int64_t k = 0; k < taps; ++k) {
      const double time_s = (double(k) + double(p) / double(count_)) * step_s - double(half) / units_per_s;
      rows_[p * padded_ + k] = float(step_s * filter.at(time_s));
    }
}

std::shared_ptr<const Phases> conversion(int64_t from_hz, int64_t to_hz) {
  // The unit of time: the common multiple of both rates has that many a second.
  const int64_t common = std::gcd(from_hz, to_hz), in_step = to_hz / common, out_step = from_hz / common;
  const double stop_hz = double(std::min(from_hz, to_hz)) / 2;
  const LowPass filter = {stop_hz, std::min(kTransitionHz, 0.15 * stop_hz)};
  return std::make_shared<const Phases>(in_step, out_step, double(from_hz) * double(in_step), filter);
}

Resampler::Resampler(std::shared_ptr<const Phases> phases, int64_t early, int64_t most)
    : phases_(std::move(phases)), dot_(engine().dot), zeros_(floor_div(phases_->half + early, phases_->in_step)),
      first_phase_((phases_->half + early) % phases_->in_step), waiting_(std::max(zeros_, phases_->taps) + most) {
  restart();
}

void Resampler::restart() {
  phase_ = first_phase_;
  waiting_.restart(zeros_);
}

float Resampler::pull() {
  const Phases& p = *phases_;
  const int64_t place = phase_ * p.count_, row = place / p.in_step, rest = place % p.in_step;
  const float* filter = p.rows_.data() + row * p.padded_;
  float sum = dot_(waiting_.front(), filter, p.padded_);
  if (rest > 0) {
    const float next = dot_(waiting_.front(), filter + p.padded_, p.padded_);
    sum += float(double(rest) / double(p.in_step)) * (next - sum);
  }
  const int64_t later = phase_ - p.out_step;
  const int64_t dropped = ceil_div(-later, p.in_step);
  phase_ = later + dropped * p.in_step;
  waiting_.drop(dropped);
  return sum;
}

Resampler::Place Resampler::place() const {
  const int64_t time = phases_->half - phase_;
  return {time / phases_->in_step, float(double(time % phases_->in_step) / double(phases_->in_step))};
}

void resample(const std::shared_ptr<const Phases>& phases, const float* in, int64_t size, int64_t first, int64_t count,
              float* out) {
  static constexpr int64_t kPiece = 1024;
  const int64_t time = first * phases->out_step;
  const int64_t skipped = std::max<int64_t>(0, ceil_div(time - phases->half, phases->in_step));
  Resampler resampler(phases, skipped * phases->in_step - time, kPiece);
  int64_t taken = skipped;
  for (int64_t i = 0; i < count; ++i) {
    while (!resampler.ready()) {
      float* to = resampler.push(kPiece);
      const int64_t there = std::clamp<int64_t>(size - taken, 0, kPiece);
      std::fill(std::copy_n(in + std::min(taken, size), there, to), to + kPiece, 0.0f);
      taken += kPiece;
    }
    out[i] = resampler.pull();
  }
}

void Resampler::save(float* to) const {
  *to = float(phase_);
  waiting_.save(to + 1);
}

bool Resampler::fits(const float* from) const {
  return *from >= 0 && *from < float(phases_->in_step) && *from == std::floor(*from) && waiting_.fits(from + 1);
}

int64_t Resampler::behind(const float* from) const {
  return int64_t(from[1]) * phases_->in_step + int64_t(from[0]) - phases_->half;
}

void Resampler::load(const float* from) {
  phase_ = int64_t(*from);
  waiting_.load(from + 1);
}

}  // namespace lite_rtse::stream
