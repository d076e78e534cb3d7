// The operators' parts as plain loops in double precision, written from the definitions.
#pragma once

#include "stored.h"

struct Plane {
  int64_t batch, frames, bins;
};

inline Doubles depthwise(const Doubles& x, const Doubles& w, const Doubles& b, Plane p, int64_t channels, int64_t kt,
                         int64_t kf) {
  Doubles y(x.size());
  for (int64_t n = 0; n < p.batch; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = 0; t < p.frames; ++t)
        for (int64_t f = 0; f < p.bins; ++f) {
          double sum = b[c];
          for (int64_t i = 0; i < kt; ++i)
            for (int64_t j = 0; j < kf; ++j) {
              const int64_t s = t - kt + 1 + i, g = f - kf / 2 + j;
              if (s >= 0 && g >= 0 && g < p.bins)
                sum += w[(c * kt + i) * kf + j] * x[((n * channels + c) * p.frames + s) * p.bins + g];
            }
          y[((n * channels + c) * p.frames + t) * p.bins + f] = sum;
        }
  return y;
}
inline Doubles pointwise(const Doubles& x, const Doubles& w, const Doubles& b, Plane p, int64_t from, int64_t to) {
  const int64_t area = p.frames * p.bins;
  Doubles y(p.batch * to * area);
  for (int64_t n = 0; n < p.batch; ++n)
    for (int64_t o = 0; o < to; ++o)
      for (int64_t i = 0; i < area; ++i) {
        double sum = b[o];
        for (int64_t c = 0; c < from; ++c) sum += w[o * from + c] * x[(n * from + c) * area + i];
        y[(n * to + o) * area + i] = sum;
      }
  return y;
}
inline Doubles channels_of(const Doubles& x, Plane p, int64_t channels, int64_t first, int64_t count) {
  const int64_t area = p.frames * p.bins;
  Doubles y;
  for (int64_t n = 0; n < p.batch; ++n)
    y.insert(y.end(), x.begin() + (n * channels + first) * area, x.begin() + (n * channels + first + count) * area);
  return y;
}
inline Doubles product(const Doubles& a, const Doubles& b) {
  Doubles y(a.size());
  for (size_t i = 0; i < a.size(); ++i) y[i] = a[i] * b[i];
  return y;
}

// An LSTM on x, W_ih, W_hh, b_ih, b_hh, h0, c0: y, then the last h, then the last c.
inline Doubles plain_lstm(const std::vector<Doubles>& in, int64_t batch, int64_t frames, int64_t inputs,
                          int64_t units) {
  Doubles y(batch * frames * units), h = in[5], c = in[6];
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < frames; ++t) {
      Doubles z(4 * units);
      for (int64_t o = 0; o < 4 * units; ++o) {
        z[o] = in[3][o] + in[4][o];
        for (int64_t i = 0; i < inputs; ++i) z[o] += in[1][o * inputs + i] * in[0][(b * frames + t) * inputs + i];
        for (int64_t i = 0; i < units; ++i) z[o] += in[2][o * units + i] * h[b * units + i];
      }
      for (int64_t u = 0; u < units; ++u) {
        double& cell = c[b * units + u];
        cell = sigmoid(z[units + u]) * cell + sigmoid(z[u]) * std::tanh(z[2 * units + u]);
        h[b * units + u] = y[(b * frames + t) * units + u] = sigmoid(z[3 * units + u]) * std::tanh(cell);
      }
    }
  y.insert(y.end(), h.begin(), h.end());
  y.insert(y.end(), c.begin(), c.end());
  return y;
}
