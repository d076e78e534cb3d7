// The kernels without torch: for sanitizers, for instruction sets that only an emulator runs, and for threads.
//
//   test_kernels THREADS [-v]
//
// float64 results are compared with plain loops written from the definitions, float64 gradients with central
// differences of the kernels' own forward, and the other types with float64. Scratch is poisoned with NaN by the build
// (see Makefile), outputs here. Prints what failed (with -v, every case) and how many; the exit status is 1 if any did,
// and 77 where this processor lacks the instruction set that LITE_RTSE_ISA names.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "plain_loops.h"

using namespace lite_rtse;

namespace {

int failures = 0, cases = 0;
int threads = 2;
bool verbose = false;

void run(Job& job) {
  std::vector<std::thread> pool;
  for (int k = 0; k < threads; ++k)
    pool.emplace_back([&, k] {
      for (int64_t task = k; task < job.tasks(); task += threads) job.run(task);
    });
  for (std::thread& t : pool) t.join();
  job.finish();
}

std::mt19937 generator(7);
Doubles random_values(int64_t n, double scale = 1) {
  std::normal_distribution<double> normal(0, scale);
  Doubles v(n);
  for (double& x : v) x = normal(generator);
  return v;
}

double relative_error(const Doubles& got, const Doubles& want) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(difference) / std::max(std::sqrt(size), 1e-300);
}
void expect(const std::string& what, double error, double limit) {
  ++cases;
  const bool ok = error <= limit;  // false for NaN
  if (!ok) ++failures;
  if (verbose || !ok) std::printf("%s  %-64s %.1e (limit %.0e)\n", ok ? "ok  " : "FAIL", what.c_str(), error, limit);
}

// ---- One interface for all operators --------------------------------------------------------------------------------

// An operator on a list of inputs: its plain-loop value and jobs for its kernel.
struct Operator {
  std::string name;
  std::vector<Doubles> inputs;
  int64_t output_size;
  std::function<Doubles(const std::vector<Doubles>&)> plain;
  std::function<std::unique_ptr<Job>(DType, std::vector<Stored>&, Stored& y)> forward;
  std::function<std::unique_ptr<Job>(DType, std::vector<Stored>&, Stored& dy, std::vector<Stored>& gradients)> backward;
};

std::vector<Stored> stored(DType dtype, const std::vector<Doubles>& inputs) {
  std::vector<Stored> result;
  for (const Doubles& v : inputs) result.emplace_back(dtype, v);
  return result;
}
Doubles evaluate(const Operator& op, DType dtype, const std::vector<Doubles>& inputs) {
  std::vector<Stored> in = stored(dtype, inputs);
  Stored y(dtype, op.output_size);
  run(*op.forward(dtype, in, y));
  return y.values();
}
std::vector<Doubles> gradients(const Operator& op, DType dtype, const std::vector<Doubles>& inputs, const Doubles& dy) {
  std::vector<Stored> in = stored(dtype, inputs), out;
  for (const Doubles& v : inputs) out.emplace_back(dtype, int64_t(v.size()));
  Stored g(dtype, dy);
  run(*op.backward(dtype, in, g, out));
  std::vector<Doubles> result;
  for (Stored& s : out) result.push_back(s.values());
  return result;
}
double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// d/dε of Σ dy · y(input_i + ε v) is Σ gradient_i · v.
void check_gradients(const Operator& op, const std::vector<Doubles>& analytic, const Doubles& dy) {
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const double step = 1e-5;
    const Doubles v = random_values(int64_t(op.inputs[i].size()));
    std::vector<Doubles> up = op.inputs, down = op.inputs;
    for (size_t k = 0; k < v.size(); ++k) {
      up[i][k] += step * v[k];
      down[i][k] -= step * v[k];
    }
    const double numeric =
        (dot(evaluate(op, DType::f64, up), dy) - dot(evaluate(op, DType::f64, down), dy)) / (2 * step);
    const double scale = std::sqrt(dot(analytic[i], analytic[i])) * std::sqrt(dot(v, v)) + 1e-12;
    expect(op.name + " gradient " + std::to_string(i), std::fabs(numeric - dot(analytic[i], v)) / scale, 1e-7);
  }
}

void check(const Operator& op) {
  const Doubles dy = random_values(op.output_size);
  expect(op.name + " float64", relative_error(evaluate(op, DType::f64, op.inputs), op.plain(op.inputs)), 1e-13);
  const std::vector<Doubles> exact = gradients(op, DType::f64, op.inputs, dy);
  check_gradients(op, exact, dy);
  const struct {
    DType dtype;
    const char* name;
    double forward, backward;
  } types[] = {
      {DType::f32, "float32", 2e-6, 1e-5}, {DType::f16, "float16", 2e-3, 4e-3}, {DType::bf16, "bfloat16", 2e-2, 3e-2}};
  for (const auto& type : types) {
    // What the type holds of the inputs is what the exact value is taken of.
    std::vector<Doubles> held;
    for (const Doubles& v : op.inputs) held.push_back(Stored(type.dtype, v).values());
    const Doubles held_dy = Stored(type.dtype, dy).values();
    expect(op.name + " " + type.name, relative_error(evaluate(op, type.dtype, held), evaluate(op, DType::f64, held)),
           type.forward);
    const std::vector<Doubles> got = gradients(op, type.dtype, held, held_dy),
                               want = gradients(op, DType::f64, held, held_dy);
    double worst = 0;
    for (size_t i = 0; i < want.size(); ++i) worst = std::fmax(worst, relative_error(got[i], want[i]));
    expect(op.name + " " + type.name + " gradients", worst, type.backward);
  }
}

Operator dwconv(Plane p, int64_t channels, int64_t kt, int64_t kf) {
  Operator op;
  op.name = "causal_dwconv2d " + std::to_string(kt) + "x" + std::to_string(kf) + " C=" + std::to_string(channels);
  op.inputs = {random_values(p.batch * channels * p.frames * p.bins), random_values(channels * kt * kf),
               random_values(channels)};
  op.output_size = int64_t(op.inputs[0].size());
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    return CausalDwconv2d{dtype, p.batch,      channels,     p.frames,     p.bins, kt,
                          kf,    in[0].data(), in[1].data(), in[2].data(), nullptr};
  };
  op.plain = [=](const std::vector<Doubles>& in) { return depthwise(in[0], in[1], in[2], p, channels, kt, kf); };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    CausalDwconv2d a = args(dtype, in);
    a.y = y.data();
    return kernels().causal_dwconv2d(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    return kernels().causal_dwconv2d_backward({args(dtype, in), dy.data(), g[0].data(), g[1].data(), g[2].data()});
  };
  return op;
}

Operator conv_block(Plane p, int64_t from, int64_t channels) {
  Operator op;
  op.name = "conv_block " + std::to_string(from) + "->" + std::to_string(channels);
  const int64_t weight[4] = {from * channels, channels * 9, channels * channels, from * channels};
  op.inputs = {random_values(p.batch * from * p.frames * p.bins)};
  for (int64_t n : weight) op.inputs.push_back(random_values(n, 0.3));
  for (int i = 0; i < 4; ++i) op.inputs.push_back(random_values(channels));
  op.output_size = p.batch * channels * p.frames * p.bins;
  const auto args = [=](DType dtype, std::vector<Stored>& in) {
    ConvBlock a{dtype, p.batch, from, channels, p.frames, p.bins, in[0].data(), {}, {}, nullptr};
    for (int i = 0; i < 4; ++i) a.weight[i] = in[1 + i].data(), a.bias[i] = in[5 + i].data();
    return a;
  };
  op.plain = [=](const std::vector<Doubles>& in) {
    const Doubles h = depthwise(pointwise(in[0], in[1], in[5], p, from, channels), in[2], in[6], p, channels, 3, 3);
    return product(pointwise(h, in[3], in[7], p, channels, channels),
                   pointwise(in[0], in[4], in[8], p, from, channels));
  };
  op.forward = [=](DType dtype, std::vector<Stored>& in, Stored& y) {
    ConvBlock a = args(dtype, in);
    a.y = y.data();
    return kernels().conv_block(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    ConvBlockBackward a{args(dtype, in), dy.data(), g[0].data(), {}, {}};
    for (int i = 0; i < 4; ++i) a.dweight[i] = g[1 + i].data(), a.dbias[i] = g[5 + i].data();
    return kernels().conv_block_backward(a);
  };
  return op;
}

Operator multi_order(Plane p, int64_t from, int64_t channels, int64_t to, int64_t order, int64_t taps) {
  Operator op;
  op.name = "multi_order_conv C=" + std::to_string(channels) + " n=" + std::to_string(order) +
            " k=" + std::to_string(taps) + " T=" + std::to_string(p.frames);
  MultiOrderConv geometry{};
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
    MultiOrderConv a{dtype,  p.batch, from,         channels, to, order,   p.frames,
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
    MultiOrderConv a = args(dtype, in);
    a.y = y.data();
    return kernels().multi_order_conv(a);
  };
  op.backward = [=](DType dtype, std::vector<Stored>& in, Stored& dy, std::vector<Stored>& g) {
    MultiOrderConvBackward a{args(dtype, in), dy.data(), g[0].data(), {}, {}};
    for (int64_t i = 0; i < count; ++i)
      a.dweight.push_back(g[1 + i].data()), a.dbias.push_back(g[1 + count + i].data());
    return kernels().multi_order_conv_backward(a);
  };
  return op;
}

// The spectrogram is (batch, bins, frames, 2), or physically (batch, frames, bins, 2) where `frames_major`.
Operator mask_residual(Plane p, bool frames_major) {
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
    return MaskResidual{dtype,   p.batch,      p.frames,     p.bins,       view(in[0].data()),
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

// Every float16 and bfloat16 goes through float32 and back unchanged: a 1x1 depthwise convolution by one.
void check_half_round_trip(DType dtype, const char* name) {
  std::vector<uint16_t> x(65536), y(65536, 0x1234);
  for (size_t i = 0; i < x.size(); ++i) x[i] = uint16_t(i);
  Stored one(dtype, Doubles{1.0});
  run(*kernels().causal_dwconv2d({dtype, 1, 1, 256, 256, 1, 1, x.data(), one.data(), nullptr, y.data()}));
  int64_t wrong = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const int fraction = dtype == DType::f16 ? 0x3ff : 0x7f, exponent = 0x7fff & ~fraction;
    const bool nan = (x[i] & exponent) == exponent && (x[i] & fraction);
    const bool still_nan = (y[i] & exponent) == exponent && (y[i] & fraction);
    const bool zero = (x[i] & 0x7fff) == 0;  // bias 0 + (-0) is +0
    if (nan ? !still_nan : zero ? (y[i] & 0x7fff) != 0 : x[i] != y[i]) ++wrong;
  }
  expect(std::string(name) + " round trip of all 65536 patterns, wrong ones", double(wrong), 0);
}

void check_all() {
  for (const Plane p : {Plane{2, 19, 21}, Plane{1, 1, 5}, Plane{1, 37, 16}}) {
    check(dwconv(p, 5, 7, 7));
    check(dwconv(p, 19, 3, 3));
    check(dwconv(p, 3, 1, 5));
    check(conv_block(p, 1, 8));
    check(conv_block(p, 9, 20));
    check(multi_order(p, 3, 8, 1, 3, 7));
    check(multi_order(p, 8, 16, 16, 5, 3));
    check(multi_order(p, 2, 6, 2, 2, 5));
    check(mask_residual(p, false));
    check(mask_residual(p, true));
  }
  check(multi_order({1, 400, 3}, 2, 4, 1, 3, 7));  // two segments
  check(conv_block({1, 300, 3}, 2, 4));
  check(dwconv({1, 600, 3}, 3, 7, 7));
  for (const Plane p :
       {Plane{0, 3, 4}, Plane{2, 0, 4}, Plane{2, 3, 0}, Plane{1, 3, 1}, Plane{1, 2, 2}, Plane{2, 9, 3}}) {
    check(dwconv(p, 3, 3, 5));
    check(dwconv(p, 0, 3, 3));
    check(conv_block(p, 2, 5));
    check(multi_order(p, 2, 4, 1, 2, 7));
    check(mask_residual(p, false));
    check(mask_residual(p, true));
  }
  check_half_round_trip(DType::f16, "float16");
  check_half_round_trip(DType::bf16, "bfloat16");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) threads = std::atoi(argv[1]);
  verbose = argc > 2 && std::strcmp(argv[2], "-v") == 0;
  try {
    std::printf("instruction set %s, %d threads\n", kernels().isa, threads);
  } catch (const std::runtime_error& e) {
    std::printf("skipped: %s\n", e.what());
    return 77;
  }
  check_all();
  std::printf("%d passed, %d failed\n", cases - failures, failures);
  return failures ? 1 : 0;
}
