// One step of an LSTM after its matrix products, and the functions that it needs. The operator and the streaming engine
// use it.

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

// c = σ(f) c + σ(i) tanh(g), h = σ(o) tanh(c). z: gates i, f, g, o in PyTorch's order, `units` of each. Passes the
// activated gates of each unit and its c to `keep`.
template <class Keep>
LITE_RTSE_INLINE void lstm_units(const float* z, int64_t units, float* c, float* h, Keep keep) {
  const float *zi = z, *zf = z + units, *zg = z + 2 * units, *zo = z + 3 * units;
  LITE_RTSE_INDEPENDENT
  for (int64_t u = 0; u < units; ++u) {
    const float i = sigmoid(zi[u]), f = sigmoid(zf[u]), g = hyperbolic_tangent(zg[u]), o = sigmoid(zo[u]);
    const float next = f * c[u] + i * g;
    c[u] = next;
    h[u] = o * hyperbolic_tangent(next);
    keep(u, i, f, g, o, next);
  }
}
inline void lstm_cell(const float* z, int64_t units, float* c, float* h) {
  lstm_units(z, units, c, h, [](int64_t, float, float, float, float, float) {});
}
// The same for a backward pass. gates: (4 units), activated; cell: (units), the new c.
inline void lstm_cell_kept(const float* z, int64_t units, float* c, float* h, float* gates, float* cell) {
  float *gi = gates, *gf = gates + units, *gg = gates + 2 * units, *go = gates + 3 * units;
  lstm_units(z, units, c, h, [=](int64_t u, float i, float f, float g, float o, float next) {
    gi[u] = i, gf[u] = f, gg[u] = g, go[u] = o, cell[u] = next;
  });
}
