// The parameters of the LSTMs and linear layers as matrices.

// Computes z = W_ih x + W_hh h + b_ih + b_hh as one product with [x, h].
inline Dense lstm_dense(const Parameters::Lstm& p, int64_t inputs, int64_t units, Precision precision) {
  return Dense(
      4 * units, inputs + units, precision,
      [=](int64_t o, int64_t i) {
        return i < inputs ? p.input.weight[o * inputs + i] : p.hidden.weight[o * units + i - inputs];
      },
      [=](int64_t o) { return p.input.bias[o] + p.hidden.bias[o]; });
}

inline Dense linear_dense(const Parameters::Linear& p, int64_t outputs, int64_t inputs, Precision precision) {
  return Dense(
      outputs, inputs, precision, [=](int64_t o, int64_t i) { return p.weight[o * inputs + i]; },
      [=](int64_t o) { return p.bias[o]; });
}
