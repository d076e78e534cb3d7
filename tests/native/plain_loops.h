// The operators' parts as plain loops in double precision, written from the definitions.
#pragma once

#include <algorithm>

#include "stored.h"

struct Plane {
  int64_t batch, frames, bins;
};

inline Doubles depthwise(const Doubles& x, const Doubles& w, const Doubles& b, Plane p, int64_t channels, int64_t kt,
                         int64_t kf, int64_t dilation = 1) {
  Doubles y(x.size());
  for (int64_t n = 0; n < p.batch; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = 0; t < p.frames; ++t)
        for (int64_t f = 0; f < p.bins; ++f) {
          double sum = b[c];
          for (int64_t i = 0; i < kt; ++i)
            for (int64_t j = 0; j < kf; ++j) {
              const int64_t s = t - (kt - 1 - i) * dilation, g = f - kf / 2 + j;
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

// A GRU on x, h0, then W_ih, W_hh, b_ih and b_hh of each direction; without biases, h0 is not given either.
inline Doubles plain_gru(const std::vector<Doubles>& in, int64_t batch, int64_t frames, int64_t inputs, int64_t units,
                         int64_t directions, bool with_bias) {
  Doubles y(batch * frames * directions * units);
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t d = 0; d < directions; ++d) {
    const Doubles* const w = &in[with_bias ? 2 + 4 * d : 1 + 2 * d];
    for (int64_t b = 0; b < batch; ++b) {
      Doubles h(units);
      for (int64_t u = 0; with_bias && u < units; ++u) h[u] = in[1][(d * batch + b) * units + u];
      for (int64_t step = 0; step < frames; ++step) {
        const int64_t t = d == 0 ? step : frames - 1 - step;
        Doubles by_x(3 * units), by_h(3 * units), next(units);
        for (int64_t o = 0; o < 3 * units; ++o) {
          if (with_bias) by_x[o] = w[2][o], by_h[o] = w[3][o];
          for (int64_t i = 0; i < inputs; ++i) by_x[o] += w[0][o * inputs + i] * in[0][(b * frames + t) * inputs + i];
          for (int64_t i = 0; i < units; ++i) by_h[o] += w[1][o * units + i] * h[i];
        }
        for (int64_t u = 0; u < units; ++u) {
          const double r = sigmoid(by_x[u] + by_h[u]), z = sigmoid(by_x[units + u] + by_h[units + u]);
          const double n = std::tanh(by_x[2 * units + u] + r * by_h[2 * units + u]);
          next[u] = (1 - z) * n + z * h[u];
          y[((b * frames + t) * directions + d) * units + u] = next[u];
        }
        h = next;
      }
    }
  }
  return y;
}

// An LSTM on x, W_ih, W_hh, b_ih, b_hh, h0, c0: y, then the last h, then the last c. What each frame had, if asked for:
// its activated gates, and the state before it.
struct LstmFrame {
  Doubles gates, h, c;
};
inline Doubles plain_lstm(const std::vector<Doubles>& in, int64_t batch, int64_t frames, int64_t inputs, int64_t units,
                          std::vector<LstmFrame>* kept = nullptr) {
  Doubles y(batch * frames * units), last_h, last_c;
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t b = 0; b < batch; ++b) {
    Doubles h(in[5].begin() + b * units, in[5].begin() + (b + 1) * units);
    Doubles c(in[6].begin() + b * units, in[6].begin() + (b + 1) * units);
    for (int64_t t = 0; t < frames; ++t) {
      LstmFrame frame{Doubles(4 * units), h, c};
      for (int64_t o = 0; o < 4 * units; ++o) {
        double z = in[3][o] + in[4][o];
        for (int64_t i = 0; i < inputs; ++i) z += in[1][o * inputs + i] * in[0][(b * frames + t) * inputs + i];
        for (int64_t i = 0; i < units; ++i) z += in[2][o * units + i] * frame.h[i];
        frame.gates[o] = o / units == 2 ? std::tanh(z) : sigmoid(z);
      }
      for (int64_t u = 0; u < units; ++u) {
        c[u] = frame.gates[units + u] * c[u] + frame.gates[u] * frame.gates[2 * units + u];
        h[u] = y[(b * frames + t) * units + u] = frame.gates[3 * units + u] * std::tanh(c[u]);
      }
      if (kept) kept->push_back(frame);
    }
    last_h.insert(last_h.end(), h.begin(), h.end());
    last_c.insert(last_c.end(), c.begin(), c.end());
  }
  y.insert(y.end(), last_h.begin(), last_h.end());
  y.insert(y.end(), last_c.begin(), last_c.end());
  return y;
}

// Its gradients for dy, dh, dc, one after another in `dout`: by x, W_ih, W_hh, either bias, h0, c0.
inline std::vector<Doubles> plain_lstm_backward(const std::vector<Doubles>& in, const Doubles& dout, int64_t batch,
                                                int64_t frames, int64_t inputs, int64_t units) {
  std::vector<LstmFrame> kept;
  plain_lstm(in, batch, frames, inputs, units, &kept);
  std::vector<Doubles> g{Doubles(in[0].size()), Doubles(in[1].size()), Doubles(in[2].size()),
                         Doubles(in[3].size()), Doubles(in[5].size()), Doubles(in[6].size())};
  const double *dy = dout.data(), *dh_last = dy + batch * frames * units, *dc_last = dh_last + batch * units;
  for (int64_t b = 0; b < batch; ++b) {
    Doubles dh(dh_last + b * units, dh_last + (b + 1) * units), dc(dc_last + b * units, dc_last + (b + 1) * units);
    for (int64_t n = (b + 1) * frames - 1; n >= b * frames; --n) {
      const LstmFrame& frame = kept[n];
      Doubles dz(4 * units);
      for (int64_t u = 0; u < units; ++u) {
        const double i = frame.gates[u], f = frame.gates[units + u], v = frame.gates[2 * units + u],
                     o = frame.gates[3 * units + u], c = f * frame.c[u] + i * v, by_h = dh[u] + dy[n * units + u];
        const double by_c = dc[u] + by_h * o / (std::cosh(c) * std::cosh(c));
        dz[u] = by_c * v * i * (1 - i), dz[units + u] = by_c * frame.c[u] * f * (1 - f);
        dz[2 * units + u] = by_c * i * (1 - v * v), dz[3 * units + u] = by_h * std::tanh(c) * o * (1 - o);
        dc[u] = by_c * f;
      }
      std::fill(dh.begin(), dh.end(), 0.0);
      for (int64_t o = 0; o < 4 * units; ++o) {
        g[3][o] += dz[o];
        for (int64_t i = 0; i < inputs; ++i) {
          g[0][n * inputs + i] += dz[o] * in[1][o * inputs + i];
          g[1][o * inputs + i] += dz[o] * in[0][n * inputs + i];
        }
        for (int64_t i = 0; i < units; ++i) {
          g[2][o * units + i] += dz[o] * frame.h[i];
          dh[i] += dz[o] * in[2][o * units + i];
        }
      }
    }
    std::copy(dh.begin(), dh.end(), g[4].begin() + b * units);
    std::copy(dc.begin(), dc.end(), g[5].begin() + b * units);
  }
  return g;
}
