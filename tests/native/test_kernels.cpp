// The kernels without torch: for sanitizers, for instruction sets that only an emulator runs, and for threads.
//
//   test_kernels THREADS [-v]
//
// float64 results are compared with plain loops written from the definitions, float64 gradients with central
// differences of the kernels' own forward, and the other types with float64; operators in float32 alone with plain
// loops, gradients too. Scratch is poisoned with NaN by the build
// (see Makefile), outputs here. Prints what failed (with -v, every case) and how many; the exit status is 1 if any did,
// and 77 where this processor lacks the instruction set that LITE_RTSE_ISA names.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "operators.h"

using namespace lite_rtse;
using namespace lite_rtse::test;

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
  if (const std::unique_ptr<Job> next = job.next()) run(*next);
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
  for (int64_t n : op.gradient_sizes()) out.emplace_back(dtype, n);
  Stored g(dtype, dy);
  if (op.keep) op.keep(dtype, in);
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

void check_float32(const Operator& op) {
  std::vector<Doubles> held;
  for (const Doubles& v : op.inputs) held.push_back(Stored(DType::f32, v).values());
  expect(op.name + " float32", relative_error(evaluate(op, DType::f32, held), op.plain(held)), 2e-6);
  const Doubles dy = Stored(DType::f32, random_values(op.output_size)).values();
  const std::vector<Doubles> got = gradients(op, DType::f32, held, dy), want = op.plain_gradients(held, dy);
  for (size_t i = 0; i < want.size(); ++i)
    expect(op.name + " float32 gradient " + std::to_string(i), relative_error(got[i], want[i]), 1e-5);
}

void check(const Operator& op) {
  if (op.plain_gradients) return check_float32(op);
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
  for (const Suite& suite : suites()) {
    generator.seed(7);  // so that no operator's values depend on the operators before it
    suite.cases(check, threads);
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
