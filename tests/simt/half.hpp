// __half and __nv_bfloat16 for machines without the CUDA toolkit, as far as kernels use them.
//
// Only the explicit conversions: torch builds extensions with the implicit ones and the operators switched off, so a
// kernel that used them would compile here and not there. Conversions from float round to nearest, ties to even; NaN
// becomes the one NaN that the hardware gives, 0x7fff.
#pragma once

#include <bit>
#include <cstdint>

#include "types.hpp"

struct alignas(2) __half {
  unsigned short bits;
};
struct alignas(2) __nv_bfloat16 {
  unsigned short bits;
};
struct alignas(4) __half2 {
  __half x, y;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
using half = __half;
using half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

namespace simt {

// The low `drop` bits of x rounded away, to nearest, ties to even.
constexpr uint32_t round_off(uint32_t x, int drop) {
  const uint32_t kept = x >> drop, lost = x & ((1u << drop) - 1), tie = 1u << (drop - 1);
  return kept + (lost > tie || (lost == tie && (kept & 1)));
}

constexpr unsigned short half_bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  if (magnitude >= 0x47800000) return (unsigned short)(sign | 0x7c00);  // 2^16 and above, infinity
  if (magnitude >= 0x38800000)                                          // 2^-14 and above; may round to infinity
    return (unsigned short)(sign | round_off(magnitude - (112u << 23), 13));
  const int exponent = int(magnitude >> 23);
  if (exponent < 102) return (unsigned short)sign;  // below 2^-25
  const uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
  return (unsigned short)(sign | round_off(mantissa, 126 - exponent));  // a multiple of 2^-24
}

constexpr float float_of_half(unsigned short h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, magnitude = h & 0x7fff;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x400) return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  const float subnormal = float(magnitude) * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

constexpr unsigned short bfloat16_bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (unsigned short)round_off(bits, 16);
}

constexpr float float_of_bfloat16(unsigned short b) { return std::bit_cast<float>(uint32_t(b) << 16); }

}  // namespace simt

inline __half __float2half_rn(float x) { return {simt::half_bits(x)}; }
inline __half __float2half(float x) { return __float2half_rn(x); }
inline float __half2float(__half h) { return simt::float_of_half(h.bits); }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline __half2 __float22half2_rn(float2 v) { return __floats2half2_rn(v.x, v.y); }
inline float2 __half22float2(__half2 v) { return {__half2float(v.x), __half2float(v.y)}; }

inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {simt::bfloat16_bits(x)}; }
inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
inline float __bfloat162float(__nv_bfloat16 b) { return simt::float_of_bfloat16(b.bits); }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return __floats2bfloat162_rn(v.x, v.y); }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {__bfloat162float(v.x), __bfloat162float(v.y)}; }
