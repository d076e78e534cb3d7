#include "../operators.h"

namespace lite_rtse::test {
namespace {

// Inputs x, h0, then W_ih, W_hh, b_ih and b_hh of each direction; without biases, h0 is not given either.
Operator gru(int64_t batch, int64_t frames, int64_t inputs, int64_t units, int64_t directions, bool with_bias) {
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

const Registration registration{{
    // Blocks of sequences, chunks of frames and tiles of units, each with a rest; lanes that are units; more sequences
    // than one task takes.
    [](const Suite::Check& check, int64_t) {
      for (const bool bias : {true, false})
        for (const int64_t directions : {1, 2}) {
          check(gru(18, 5, 3, 6, directions, bias));
          check(gru(3, 35, 8, 8, directions, bias));
          check(gru(2, 20, 5, 17, directions, bias));
          check(gru(5, 3, 3, 2, directions, bias));
        }
      check(gru(1, 300, 3, 16, 1, true));
      check(gru(70, 2, 30, 33, 2, true));
      check(gru(1100, 2, 2, 1, 1, true));
      check(gru(0, 2, 2, 3, 2, true));
      check(gru(2, 3, 0, 4, 1, true));
      check(gru(2, 3, 0, 16, 1, true));
    },
    {{"gru_few", [] { return gru(1, kCountedPlane.frames, kCountedPlane.bins, kCountedPlane.bins, 1, true); }},
     {"gru_many", [] { return gru(kCountedPlane.bins, kCountedPlane.frames, 8, 8, 1, true); }}},
}};

}  // namespace
}  // namespace lite_rtse::test
