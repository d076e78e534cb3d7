// One call of one kernel, for a program that counts instructions.
//
//   count_kernels OPERATOR forward|backward DTYPE
//   count_kernels                                    names the compiler that built it
//
// The call is counted_call, the only function of this name: preparing the tensors is outside of it, packing the weights
// inside, as in any other call. One thread, the network's channels, few frames. Prints the number of time-frequency
// points; the exit status is 77 where this processor lacks the instruction set that LITE_RTSE_ISA names.
#include <cstdio>
#include <map>
#include <stdexcept>

#include "operators.h"

using namespace lite_rtse;
using namespace lite_rtse::test;

namespace {

#if defined(__clang__)
constexpr const char* kCompiler = __VERSION__;  // "Clang 14.0.6"
#else
constexpr const char* kCompiler = "GCC " __VERSION__;
#endif

// Enough frames for every ring of the cascade, of a chunk and the look-back of four stages, to turn; half the network's
// bins, 8 · 16 + 1 where it has 16 · 16 + 1: whole tiles and the same rest.
constexpr Plane kPlane{1, 40, 129};

const std::map<std::string, Operator (*)()> kOperators = {
    {"causal_dwconv2d", [] { return dwconv(kPlane, 64, 7, 7); }},
    {"conv_block_1_32", [] { return conv_block(kPlane, 1, 32); }},
    {"conv_block_32_32", [] { return conv_block(kPlane, 32, 32); }},
    {"gru_few", [] { return gru(1, kPlane.frames, kPlane.bins, kPlane.bins, 1, true); }},
    {"gru_many", [] { return gru(kPlane.bins, kPlane.frames, 8, 8, 1, true); }},
    {"lstm_1", [] { return lstm(kPlane.batch, kPlane.frames, kPlane.bins, kPlane.bins, 0, 1); }},
    {"lstm_8", [] { return lstm(8, kPlane.frames / 8, kPlane.bins, kPlane.bins, 0, 1); }},
    {"mask_residual", [] { return mask_residual(kPlane, false); }},
    {"multi_order_conv", [] { return multi_order(kPlane, 32, 64, 1, 5, 7, 1); }},
};
const std::map<std::string, DType> kTypes = {{"float32", DType::f32}, {"bfloat16", DType::bf16}};

// The same values on every run, in [-1, 1], of few digits: valgrind multiplies those in half the time.
Stored filled(DType dtype, int64_t n) {
  Doubles values(n);
  for (double& x : values) x = (double(generator() % 129) - 64) / 64;
  return Stored(dtype, values);
}

std::vector<Stored> filled_like(DType dtype, const std::vector<Doubles>& tensors) {
  std::vector<Stored> result;
  for (const Doubles& t : tensors) result.push_back(filled(dtype, int64_t(t.size())));
  return result;
}

}  // namespace

// With C linkage, for a name that can be given on a command line.
extern "C" __attribute__((noinline)) void counted_call(const std::function<std::unique_ptr<Job>()>& make) {
  run_here(*make());
}

int main(int argc, char** argv) {
  if (argc == 1) {
    std::printf("%s\n", kCompiler);
    return 0;
  }
  const std::string direction = argc == 4 ? argv[2] : "";
  if (argc != 4 || !kOperators.count(argv[1]) || !kTypes.count(argv[3]) ||
      (direction != "forward" && direction != "backward")) {
    std::fprintf(stderr, "usage: %s OPERATOR forward|backward float32|bfloat16\n", argv[0]);
    return 2;
  }
  try {
    kernels();
  } catch (const std::runtime_error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 77;
  }
  const Operator op = kOperators.at(argv[1])();
  const DType dtype = kTypes.at(argv[3]);
  if (op.plain_gradients && dtype != DType::f32) {
    std::fprintf(stderr, "%s has no other type than float32\n", argv[1]);
    return 2;
  }
  std::vector<Stored> inputs = filled_like(dtype, op.inputs), gradients;
  for (int64_t n : op.gradient_sizes()) gradients.push_back(filled(dtype, n));
  if (op.keep) op.keep(dtype, inputs);
  Stored y = filled(dtype, op.output_size);  // or dy
  if (direction == "forward") counted_call([&] { return op.forward(dtype, inputs, y); });
  if (direction == "backward") counted_call([&] { return op.backward(dtype, inputs, y, gradients); });
  std::printf("%lld\n", static_cast<long long>(kPlane.batch * kPlane.frames * kPlane.bins));
}
