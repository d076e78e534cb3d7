// Elementary functions without branches, so that the compiler vectorizes the loops that call them.

// Adding it rounds to an integer n and leaves n in the low mantissa bits.
constexpr float kRounding = 12582912.0f;  // 1.5 · 2^23

// 2^n exp(t) with shifted = n + kRounding and |t| <= ln 2 / 2. A Taylor sum of degree 6 has an error below
// t^7 / 7! < 1.3e-7.
LITE_RTSE_INLINE float scaled_exp(float shifted, float t) {
  float p = 1.0f / 720;
  p = p * t + 1.0f / 120;
  p = p * t + 1.0f / 24;
  p = p * t + 1.0f / 6;
  p = p * t + 0.5f;
  p = p * t + 1.0f;
  p = p * t + 1.0f;
  return p * bits_to_float((float_to_bits(shifted) - float_to_bits(kRounding) + 127u) << 23);
}

// exp(x) for x <= 0. With n = round(x / ln 2), exp(x) = 2^n exp(x - n ln 2). Below -87, near the end of the normal
// float32 range, the result stays at exp(-87).
LITE_RTSE_INLINE float exp_negative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float shifted = x * 1.44269504f + kRounding;
  const float n = shifted - kRounding;
  float t = x - n * 0.693145752f;  // ln 2 in two parts: the first ends in 9 zero bits, so n times it is exact
  t = t - n * 1.42860677e-6f;
  return scaled_exp(shifted, t);
}
LITE_RTSE_INLINE double exp_negative(double x) { return std::exp(x); }

template <class T>
LITE_RTSE_INLINE T sigmoid(T x) {
  const T e = exp_negative(x > 0 ? -x : x);
  const T larger = 1 / (1 + e);
  return x > 0 ? larger : e * larger;
}

// tanh to a few units in the last place, also for small x. The formula (1 - e) / (1 + e) with e = exp(-2|x|) cancels
// near 0. Below 0.5 it is therefore replaced by the continued fraction x / (1 + x²/(3 + x²/(5 + …))), cut after 9. The
// error of the fraction there is 2e-10.
LITE_RTSE_INLINE float hyperbolic_tangent(float x) {
  const float a = x < 0 ? -x : x, s = x * x;
  const float e = exp_negative(-2 * a);
  // The choice precedes the division, which takes longest.
  const float above = a < 0.5f ? a * (945 + s * (105 + s)) : 1 - e;
  const float below = a < 0.5f ? 945 + s * (420 + 15 * s) : 1 + e;
  const float r = above / below;
  return x < 0 ? -r : r;
}
LITE_RTSE_INLINE double hyperbolic_tangent(double x) { return std::tanh(x); }
