// Test tensors: what a kernel reads and writes, in any of the four types, seen as doubles.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../../csrc/cpu/api.h"

using Doubles = std::vector<double>;

// A tensor stored in one of the four types; what it holds is seen as doubles.
class Stored {
 public:
  Stored(lite_rtse::DType dtype, const Doubles& values) : dtype_(dtype), bytes_(values.size() * width()) {
    for (size_t i = 0; i < values.size(); ++i) put(i, values[i]);
  }
  // n elements of NaN, to be overwritten.
  Stored(lite_rtse::DType dtype, int64_t n) : dtype_(dtype), bytes_(n * width(), 0xFF) {}

  Doubles values() const {
    Doubles v(bytes_.size() / width());
    for (size_t i = 0; i < v.size(); ++i) v[i] = get(i);
    return v;
  }
  void* data() { return bytes_.data(); }
  int64_t size() const { return int64_t(bytes_.size() / width()); }

 private:
  size_t width() const { return dtype_ == lite_rtse::DType::f64 ? 8 : dtype_ == lite_rtse::DType::f32 ? 4 : 2; }
  void put(size_t i, double x) {
    const float f = float(x);
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    if (dtype_ == lite_rtse::DType::f64) std::memcpy(&bytes_[8 * i], &x, 8);
    if (dtype_ == lite_rtse::DType::f32) std::memcpy(&bytes_[4 * i], &f, 4);
    if (dtype_ == lite_rtse::DType::bf16) {
      const uint16_t h = uint16_t(bits >> 16);  // truncation: test data need not be rounded
      std::memcpy(&bytes_[2 * i], &h, 2);
    }
    if (dtype_ == lite_rtse::DType::f16) {
      int exponent;
      const double mantissa = std::frexp(std::fabs(x), &exponent);  // |x| = mantissa · 2^exponent, mantissa in [0.5, 1)
      uint16_t h = 0;
      if (x != 0 && exponent > -14) h = uint16_t(((exponent + 14) << 10) + int((mantissa * 2 - 1) * 1024));
      h |= uint16_t(std::signbit(x) ? 0x8000 : 0);
      std::memcpy(&bytes_[2 * i], &h, 2);
    }
  }
  double get(size_t i) const {
    if (dtype_ == lite_rtse::DType::f64) {
      double x;
      std::memcpy(&x, &bytes_[8 * i], 8);
      return x;
    }
    float f;
    if (dtype_ == lite_rtse::DType::f32) std::memcpy(&f, &bytes_[4 * i], 4);
    if (dtype_ == lite_rtse::DType::f32) return f;
    uint16_t h;
    std::memcpy(&h, &bytes_[2 * i], 2);
    if (dtype_ == lite_rtse::DType::bf16) {
      const uint32_t bits = uint32_t(h) << 16;
      std::memcpy(&f, &bits, 4);
      return f;
    }
    const int exponent = (h >> 10) & 31, fraction = h & 1023;
    const double sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
  }

  lite_rtse::DType dtype_;
  std::vector<unsigned char> bytes_;
};
