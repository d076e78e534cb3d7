// The operators as test programs see them: named inputs, a value by plain loops, and jobs for the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "plain_loops.h"

namespace lite_rtse::test {

// An operator on a list of inputs: its plain-loop value and jobs for its kernel. One that is float32 only has its
// gradients by plain loops as well: in the order in which `backward` writes them, an empty one where it has none.
struct Operator {
  std::string name;
  std::vector<Doubles> inputs;
  int64_t output_size;
  std::function<Doubles(const std::vector<Doubles>&)> plain;
  std::function<std::vector<Doubles>(const std::vector<Doubles>&, const Doubles& dy)> plain_gradients;
  std::function<std::unique_ptr<Job>(DType, std::vector<Stored>&, Stored& y)> forward;
  std::function<std::unique_ptr<Job>(DType, std::vector<Stored>&, Stored& dy, std::vector<Stored>& gradients)> backward;
  // Before `backward`, if there is one: runs the forward for what that keeps.
  std::function<void(DType, std::vector<Stored>&)> keep;

  // Sizes of the gradients that `backward` writes.
  std::vector<int64_t> gradient_sizes() const {
    const auto like = plain_gradients ? plain_gradients(inputs, Doubles(output_size)) : inputs;
    std::vector<int64_t> sizes;
    for (const Doubles& v : like) sizes.push_back(int64_t(v.size()));
    return sizes;
  }
};

// Runs a job, and what is next, on this thread.
inline void run_here(Job& job) {
  for (int64_t task = 0; task < job.tasks(); ++task) job.run(task);
  job.finish();
  if (const std::unique_ptr<Job> next = job.next()) run_here(*next);
}

inline std::mt19937 generator(7);
inline Doubles random_values(int64_t n, double scale = 1) {
  std::normal_distribution<double> normal(0, scale);
  Doubles v(n);
  for (double& x : v) x = normal(generator);
  return v;
}

inline Operator dwconv(Plane p, int64_t channels, int64_t kt, int64_t kf) {
  Operator op;
  op.name = "causal_dwconv2d " + std::to_string(kt) + "x" + std::to_string(kf) + " C=" + std::to_string(channels);
  op.inputs = {random_values(p.batch * channels * p.frames * p.bins), random_values(channels * kt * kf),
               random_values(channels)};
  op.output_size = int64_t(op.inputs[0].size());
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    return CausalDwconv2dArgs{dtype, p.batch,      channels,     p.frames,     p.bins, kt,
                              kf,    in[0].data(), in[1].data(), in[2].data(), nullptr};
  };
  op.plain = [=](const std::vector<Doubles>& in) { return depthwise(in[0], in[1], in[2], p, channels, kt, kf); };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    CausalDwconv2dArgs a = args(dtype, in);
    a.y = y.data();
    return kernels().causal_dwconv2d(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    return kernels().causal_dwconv2d_backward({args(dtype, in), dy.data(), g[0].data(), g[1].data(), g[2].data()});
  };
  return op;
}

inline Operator conv_block(Plane p, int64_t from, int64_t channels) {
  Operator op;
  op.name = "conv_block " + std::to_string(from) + "->" + std::to_string(channels);
  const int64_t weight[4] = {from * channels, channels * 9, channels * channels, from * channels};
  op.inputs = {random_values(p.batch * from * p.frames * p.bins)};
  for (int64_t n : weight) op.inputs.push_back(random_values(n, 0.3));
  for (int i = 0; i < 4; ++i) op.inputs.push_back(random_values(channels));
  op.output_size = p.batch * channels * p.frames * p.bins;
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    ConvBlockArgs a{dtype, p.batch, from, channels, p.frames, p.bins, in[0].data(), {}, {}, nullptr};
    for (int i = 0; i < 4; ++i) a.weight[i] = in[1 + i].data(), a.bias[i] = in[5 + i].data();
    return a;
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    const Doubles h = depthwise(pointwise(in[0], in[1], in[5], p, from, channels), in[2], in[6], p, channels, 3, 3);
    return product(pointwise(h, in[3], in[7], p, channels, channels),
                   pointwise(in[0], in[4], in[8], p, from, channels));
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    ConvBlockArgs a = args(dtype, in);
    a.y = y.data();
    return kernels().conv_block(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    ConvBlockBackwardArgs a{args(dtype, in), dy.data(), g[0].data(), {}, {}};
    for (int i = 0; i < 4; ++i) a.dweight[i] = g[1 + i].data(), a.dbias[i] = g[5 + i].data();
    return kernels().conv_block_backward(a);
  };
  return op;
}

inline Operator multi_order(Plane p, int64_t from, int64_t channels, int64_t to, int64_t order, int64_t taps,
                            int64_t threads) {
  Operator op;
  op.name = "multi_order_conv C=" + std::to_string(channels) + " n=" + std::to_string(order) +
            " k=" + std::to_string(taps) + " T=" + std::to_string(p.frames);
  MultiOrderConvArgs geometry{};
  geometry.channels = channels, geometry.order = order;
  std::vector<int64_t> out{2 * channels}, in_each{from};
  int64_t split = 2 * channels - geometry.gate(0);
  for (int64_t k = 0; k < order - 1; split -= geometry.gate(k), ++k)
    out.push_back(split), in_each.push_back(taps * taps);
  for (int64_t k = 0; k < order - 1; ++k) out.push_back(2 * geometry.gate(k)), in_each.push_back(geometry.gate(k));
  out.push_back(to), in_each.push_back(channels);
  op.inputs = {random_values(p.batch * from * p.frames * p.bins)};
  for (size_t i = 0; i < out.size(); ++i)
    op.inputs.push_back(random_values(out[i] * in_each[i], 1 / std::sqrt(double(in_each[i]))));
  for (int64_t n : out) op.inputs.push_back(random_values(n, 0.3));
  op.output_size = p.batch * to * p.frames * p.bins;
  const int64_t count = int64_t(out.size());
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    MultiOrderConvArgs a{dtype,  p.batch, from,         channels, to, order,   p.frames,
                         p.bins, taps,    in[0].data(), {},       {}, nullptr, threads};
    for (int64_t i = 0; i < count; ++i)
      a.weight.push_back(in[1 + i].data()), a.bias.push_back(in[1 + count + i].data());
    return a;
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    const auto w = [&](int64_t i) { return in[1 + i]; };
    const auto b = [&](int64_t i) { return in[1 + count + i]; };
    const Doubles h = pointwise(in[0], w(0), b(0), p, from, 2 * channels);
    int64_t n = 2 * channels - geometry.gate(0);
    Doubles d = channels_of(h, p, 2 * channels, 0, n), q = channels_of(h, p, 2 * channels, n, geometry.gate(0));
    for (int64_t k = 0; k < order - 1; ++k) {
      const int64_t g = geometry.gate(k);
      const Doubles u = depthwise(d, w(geometry.dw_index(k)), b(geometry.dw_index(k)), p, n, taps, taps);
      d = channels_of(u, p, n, 0, n - g);
      q = pointwise(product(q, channels_of(u, p, n, n - g, g)), w(geometry.pw_index(k)), b(geometry.pw_index(k)), p, g,
                    2 * g);
      n -= g;
    }
    return pointwise(product(d, q), w(geometry.out_index()), b(geometry.out_index()), p, channels, to);
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    MultiOrderConvArgs a = args(dtype, in);
    a.y = y.data();
    return kernels().multi_order_conv(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    MultiOrderConvBackwardArgs a{args(dtype, in), dy.data(), g[0].data(), {}, {}};
    for (int64_t i = 0; i < count; ++i)
      a.dweight.push_back(g[1 + i].data()), a.dbias.push_back(g[1 + count + i].data());
    return kernels().multi_order_conv_backward(a);
  };
  return op;
}

// The spectrogram is (batch, bins, frames, 2), or physically (batch, frames, bins, 2) where `frames_major`.
inline Operator mask_residual(Plane p, bool frames_major) {
  Operator op;
  op.name = std::string("mask_residual ") + (frames_major ? "frames-major" : "bins-major");
  const int64_t points = p.batch * p.frames * p.bins;
  op.inputs = {random_values(2 * points)};
  for (int i = 0; i < 4; ++i) op.inputs.push_back(random_values(points));
  op.output_size = 2 * points;
  const auto view = [=](const void* data) {
    const int64_t bin = frames_major ? 2 : 2 * p.frames, frame = frames_major ? 2 * p.bins : 2;
    return Spectrogram{data, 2 * p.frames * p.bins, bin, frame, 1};
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    Doubles y(2 * points);
    const Spectrogram v = view(nullptr);
    for (int64_t n = 0; n < p.batch; ++n)
      for (int64_t t = 0; t < p.frames; ++t)
        for (int64_t f = 0; f < p.bins; ++f) {
          const int64_t at = n * v.batch_stride + t * v.frame_stride + f * v.bin_stride,
                        i = (n * p.frames + t) * p.bins + f;
          const double m = std::hypot(in[0][at], in[0][at + 1]), masked = m / (1 + std::exp(-in[1][i]));
          const double magnitude = in[2][i] * (m - masked) + masked;
          const double phase = std::atan2(in[0][at + 1], in[0][at]) + std::atan2(in[4][i], in[3][i]);
          y[at] = magnitude * std::cos(phase), y[at + 1] = magnitude * std::sin(phase);
        }
    return y;
  };
  const auto args = [=](DType dtype, std::vector<Stored>& in, void* y) {
    return MaskResidualArgs{dtype,   p.batch,      p.frames,     p.bins,       view(in[0].data()),
                            view(y), in[1].data(), in[2].data(), in[3].data(), in[4].data()};
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    return kernels().mask_residual(args(dtype, in, y.data()));
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    return kernels().mask_residual_backward({args(dtype, in, nullptr), view(dy.data()), view(g[0].data()), g[1].data(),
                                             g[2].data(), g[3].data(), g[4].data()});
  };
  return op;
}

// Inputs x, W_ih, W_hh, b_ih, b_hh, h0, c0, of which the last `absent` are not given. Output: y, then h, then c. As
// gradients of inputs that are absent are not asked for, so are those of outputs not given (null, zeros) that stand for
// them: dc without c0, dh without h0; and dx without biases.
inline Operator lstm(int64_t batch, int64_t frames, int64_t inputs, int64_t units, int64_t absent, int64_t threads) {
  Operator op;
  op.name = "lstm B=" + std::to_string(batch) + " T=" + std::to_string(frames) + " I=" + std::to_string(inputs) +
            " H=" + std::to_string(units) + " absent=" + std::to_string(absent);
  const int64_t rows = 4 * units, size[7] = {batch * frames * inputs, rows * inputs, rows * units, rows, rows,
                                             batch * units,           batch * units};
  for (int i = 0; i < 7 - absent; ++i)
    op.inputs.push_back(random_values(size[i], i == 1 || i == 2 ? 2 / std::sqrt(double(inputs + 1)) : 1));
  const int64_t y_size = batch * frames * units, kept_size = 4 * y_size;
  op.output_size = y_size + 2 * batch * units;
  const auto complete = [=](std::vector<Doubles> in) {
    for (int i = int(in.size()); i < 7; ++i) in.emplace_back(size[i], 0.0);
    return in;
  };
  op.plain = [=](const std::vector<Doubles>& in) { return plain_lstm(complete(in), batch, frames, inputs, units); };
  op.plain_gradients = [=](const std::vector<Doubles>& in, Doubles dout) {
    if (absent > 0) std::fill(dout.end() - batch * units, dout.end(), 0.0);
    if (absent > 1) std::fill(dout.begin() + y_size, dout.end(), 0.0);
    std::vector<Doubles> g = plain_lstm_backward(complete(in), dout, batch, frames, inputs, units);
    if (absent > 0) g[5].clear();
    if (absent > 1) g[4].clear();
    if (absent > 3) g[3].clear(), g[0].clear();
    return g;
  };
  // What the forward keeps for the backward.
  struct Kept {
    std::vector<float> y, gates, cells, dz;
  };
  const auto forward = [=](std::vector<Stored>& in, float* y, Kept* kept) {
    const auto input = [&](size_t i) { return i < in.size() ? static_cast<const float*>(in[i].data()) : nullptr; };
    return LstmArgs{batch,
                    frames,
                    inputs,
                    units,
                    input(0),
                    input(5),
                    input(6),
                    input(1),
                    input(2),
                    input(3),
                    input(4),
                    y,
                    y + y_size,
                    y + y_size + batch * units,
                    kept ? kept->gates.data() : nullptr,
                    kept ? kept->cells.data() : nullptr,
                    threads,
                    false};
  };
  op.forward = [=](DType, std::vector<Stored>& in, Stored& out) {
    return kernels().lstm(forward(in, static_cast<float*>(out.data()), nullptr));
  };
  const int64_t output_size = op.output_size;
  const auto kept = std::make_shared<Kept>();
  op.keep = [=](DType, std::vector<Stored>& in) {
    const auto nothing = [](int64_t n) { return std::vector<float>(n, NAN); };
    *kept = {nothing(output_size), nothing(kept_size), nothing(y_size), nothing(kept_size)};
    run_here(*kernels().lstm(forward(in, kept->y.data(), kept.get())));
  };
  op.backward = [=](DType, std::vector<Stored>& in, Stored& dout, std::vector<Stored>& g) {
    const LstmArgs f = forward(in, kept->y.data(), kept.get());
    float* const dy = static_cast<float*>(dout.data());
    const auto given = [&](size_t i) { return g[i].size() ? static_cast<float*>(g[i].data()) : nullptr; };
    return kernels().lstm_backward({f, dy, absent > 1 ? nullptr : dy + y_size,
                                    absent > 0 ? nullptr : dy + y_size + batch * units, kept->dz.data(), given(0),
                                    given(1), given(2), given(3), given(4), given(5)});
  };
  return op;
}

// Inputs x, h0, then W_ih, W_hh, b_ih and b_hh of each direction; without biases, h0 is not given either.
inline Operator gru(int64_t batch, int64_t frames, int64_t inputs, int64_t units, int64_t directions, bool with_bias) {
  Operator op;
  op.name = "gru B=" + std::to_string(batch) + " T=" + std::to_string(frames) + " I=" + std::to_string(inputs) +
            " H=" + std::to_string(units) + " D=" + std::to_string(directions) + (with_bias ? " bias" : "");
  const int64_t rows = 3 * units, each = with_bias ? 4 : 2, first = with_bias ? 2 : 1;
  op.inputs = {random_values(batch * frames * inputs)};
  if (with_bias) op.inputs.push_back(random_values(directions * batch * units));
  for (int64_t d = 0; d < directions; ++d) {
    op.inputs.push_back(random_values(rows * inputs, 1 / std::sqrt(double(inputs + 1))));
    op.inputs.push_back(random_values(rows * units, 1 / std::sqrt(double(units))));
    if (with_bias) op.inputs.push_back(random_values(rows)), op.inputs.push_back(random_values(rows));
  }
  op.output_size = batch * frames * directions * units;
  op.plain = [=](const std::vector<Doubles>& in) {
    return plain_gru(in, batch, frames, inputs, units, directions, with_bias);
  };
  // The tensors of the arguments, or of the gradients, in the order of the inputs.
  const auto parameter = [=](std::vector<Stored>& in, int64_t d, int64_t i) {
    return i < each ? in[first + d * each + i].data() : nullptr;
  };
  const auto args = [=](DType dtype, std::vector<Stored>& in, void* y, void* kept) {
    RecurrentArgs a{dtype, batch, frames, inputs, units, directions, in[0].data(), with_bias ? in[1].data() : nullptr,
                    {},    {},    {},     {},     y,     kept};
    for (int64_t d = 0; d < directions; ++d) {
      a.weight_ih[d] = parameter(in, d, 0), a.weight_hh[d] = parameter(in, d, 1);
      a.bias_ih[d] = parameter(in, d, 2), a.bias_hh[d] = parameter(in, d, 3);
    }
    return a;
  };
  // What the forward pass keeps for the backward pass, and its y.
  struct Memory {
    std::vector<double> kept;
    Stored y;
  };
  const auto memory = std::make_shared<Memory>(Memory{{}, Stored(DType::f64, 0)});
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    return kernels().gru(args(dtype, in, y.data(), nullptr));
  };
  op.keep = [=](DType dtype, std::vector<Stored>& in) {
    RecurrentArgs a = args(dtype, in, nullptr, nullptr);
    memory->kept.assign(a.kept_size(), NAN);  // room for either type
    memory->y = Stored(dtype, batch * frames * directions * units);
    a.y = memory->y.data(), a.kept = memory->kept.data();
    run_here(*kernels().gru(a));
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    RecurrentBackwardArgs a{};
    a.forward = args(dtype, in, memory->y.data(), memory->kept.data());
    a.dy = dy.data(), a.dx = g[0].data(), a.dh0 = with_bias ? g[1].data() : nullptr;
    for (int64_t d = 0; d < directions; ++d) {
      a.dweight_ih[d] = parameter(g, d, 0), a.dweight_hh[d] = parameter(g, d, 1);
      a.dbias_ih[d] = parameter(g, d, 2), a.dbias_hh[d] = parameter(g, d, 3);
    }
    return kernels().gru_backward(a);
  };
  return op;
}

}  // namespace lite_rtse::test
