// One call of one kernel, for a program that counts instructions.
//
//   count_kernels CALL forward|backward DTYPE
//   count_kernels                                    names the compiler that built it
//   count_kernels list                               names the calls, each with the types that it takes
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

// The calls that can be counted, by name.
std::map<std::string, std::function<Operator()>> counted_calls() {
  std::map<std::string, std::function<Operator()>> all;
  for (const Suite& suite : suites()) all.insert(suite.counted.begin(), suite.counted.end());
  return all;
}

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
  const auto calls = counted_calls();
  if (argc == 2 && std::string(argv[1]) == "list") {
    for (const auto& [name, make] : calls)
      std::printf("%s float32%s\n", name.c_str(), make().plain_gradients ? "" : " bfloat16");
    return 0;
  }
  const std::string direction = argc == 4 ? argv[2] : "";
  if (argc != 4 || !calls.count(argv[1]) || !kTypes.count(argv[3]) ||
      (direction != "forward" && direction != "backward")) {
    std::fprintf(stderr, "usage: %s CALL forward|backward float32|bfloat16\n", argv[0]);
    return 2;
  }
  try {
    kernels();
  } catch (const std::runtime_error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 77;
  }
  const Operator op = calls.at(argv[1])();
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
  std::printf("%lld\n", static_cast<long long>(kCountedPlane.batch * kCountedPlane.frames * kCountedPlane.bins));
}
