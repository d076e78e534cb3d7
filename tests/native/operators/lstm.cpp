#include "../operators.h"

namespace lite_rtse::test {
namespace {

// The order of the steps, and that of the frames in memory.
struct Order {
  bool reverse = false, time_major = false;
};

// Moves the frames of a tensor from the order of the steps, (batch, steps, width), to their places in memory. With
// `back` it moves them from memory to the order of the steps. Numbers behind the frames stay where they are.
Doubles moved(const Doubles& from, int64_t batch, int64_t frames, int64_t width, Order order, bool back = false) {
  Doubles to = from;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t step = 0; step < frames; ++step) {
      const int64_t t = order.reverse ? frames - 1 - step : step;
      const int64_t in_steps = (b * frames + step) * width;
      const int64_t in_memory = (order.time_major ? t * batch + b : b * frames + t) * width;
      std::copy_n(from.begin() + (back ? in_memory : in_steps), width, to.begin() + (back ? in_steps : in_memory));
    }
  return to;
}

// Inputs x, W_ih, W_hh, b_ih, b_hh, h0, c0, of which the last `absent` are not given. Output: y, then h, then c. As
// gradients of inputs that are absent are not asked for, so are those of outputs not given (null, zeros) that stand for
// them: dc without c0, dh without h0; and dx without biases.
Operator lstm(int64_t batch, int64_t frames, int64_t inputs, int64_t units, int64_t absent, int64_t threads,
              Order order = {}) {
  Operator op;
  op.name = "lstm B=" + std::to_string(batch) + " T=" + std::to_string(frames) + " I=" + std::to_string(inputs) +
            " H=" + std::to_string(units) + " absent=" + std::to_string(absent) + (order.reverse ? " reverse" : "") +
            (order.time_major ? " time-major" : "");
  const int64_t rows = 4 * units, size[7] = {batch * frames * inputs, rows * inputs, rows * units, rows, rows,
                                             batch * units,           batch * units};
  for (int i = 0; i < 7 - absent; ++i)
    op.inputs.push_back(random_values(size[i], i == 1 || i == 2 ? 2 / std::sqrt(double(inputs + 1)) : 1));
  const int64_t y_size = batch * frames * units, kept_size = 4 * y_size;
  op.output_size = y_size + 2 * batch * units;
  const auto complete = [=](std::vector<Doubles> in) {
    for (int i = int(in.size()); i < 7; ++i) in.emplace_back(size[i], 0.0);
    in[0] = moved(in[0], batch, frames, inputs, order, true);
    return in;
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    return moved(plain_lstm(complete(in), batch, frames, inputs, units), batch, frames, units, order);
  };
  op.plain_gradients = [=](const std::vector<Doubles>& in, Doubles dout) {
    if (absent > 0) std::fill(dout.end() - batch * units, dout.end(), 0.0);
    if (absent > 1) std::fill(dout.begin() + y_size, dout.end(), 0.0);
    dout = moved(dout, batch, frames, units, order, true);
    std::vector<Doubles> g = plain_lstm_backward(complete(in), dout, batch, frames, inputs, units);
    g[0] = moved(g[0], batch, frames, inputs, order);
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
                    order.reverse,
                    order.time_major};
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

const Registration registration{{
    // Sizes around a vector, a group of vectors and a tile of rows; more frames than one input product, and more
    // sequences; with and without each of the optional inputs.
    [](const Suite::Check& check, int64_t threads) {
      for (const int64_t absent : {0, 1, 2, 3, 4}) check(lstm(3, 5, 6, 9, absent, threads));
      for (const int64_t units : {1, 4, 16, 17, 33}) check(lstm(5, 3, units / 2 + 1, units, 0, threads));
      check(lstm(1, 300, 3, 5, 2, threads));
      check(lstm(2, 150, 3, 7, 2, threads));
      check(lstm(270, 2, 2, 3, 2, threads));
      check(lstm(0, 2, 2, 3, 0, threads));
      check(lstm(2, 3, 0, 4, 0, threads));
      check(lstm(3, 2, 30, 100, 1, threads));  // several tasks for the parameters
      for (const Order order : {Order{true, false}, Order{false, true}, Order{true, true}}) {
        check(lstm(3, 5, 6, 9, 0, threads, order));
        check(lstm(1, 4, 3, 5, 4, threads, order));
        check(lstm(2, 150, 3, 7, 2, threads, order));
        check(lstm(270, 2, 2, 3, 2, threads, order));
        check(lstm(3, 2, 30, 100, 1, threads, order));
      }
    },
    // One sequence, and eight with as many frames together.
    {{"lstm_1", [] { return lstm(1, kCountedPlane.frames, kCountedPlane.bins, kCountedPlane.bins, 0, 1); }},
     {"lstm_8", [] { return lstm(8, kCountedPlane.frames / 8, kCountedPlane.bins, kCountedPlane.bins, 0, 1); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
