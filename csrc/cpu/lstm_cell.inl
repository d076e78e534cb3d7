// One step of an LSTM after its matrix products. The operator and the streaming engine use it.

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
