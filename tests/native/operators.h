// What the test programs know of an operator: named inputs, a value by plain loops, and jobs for the kernels. The
// operators are in operators/, one file each.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
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

// What the file of an operator gives to the programs.
struct Suite {
  // test_kernels: calls `check` with each case. `threads` is a hint for operators that take one.
  using Check = std::function<void(const Operator&)>;
  std::function<void(const Check& check, int64_t threads)> cases;
  // count_kernels: by name, the calls whose instructions are counted.
  std::map<std::string, std::function<Operator()>> counted;
};

inline std::vector<Suite>& suites() {
  static std::vector<Suite> all;
  return all;
}

// Each file of an operator has one of these as a global variable.
struct Registration {
  explicit Registration(Suite suite) { suites().push_back(std::move(suite)); }
};

// Planes around a vector, a group of vectors and a segment, for operators on (batch, channels, frames, bins).
inline const std::vector<Plane> kPlanes{{2, 19, 21}, {1, 1, 5}, {1, 37, 16}};
inline const std::vector<Plane> kSmallPlanes{{0, 3, 4}, {2, 0, 4}, {2, 3, 0}, {1, 3, 1}, {1, 2, 2}, {2, 9, 3}};

// The plane of a call that is counted. It has enough frames for every ring of the cascade, of a chunk and the left
// context of four stages, to turn. It has half the network's bins, 8 · 16 + 1 where that has 16 · 16 + 1: whole tiles
// and the same rest.
constexpr Plane kCountedPlane{1, 40, 129};

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

}  // namespace lite_rtse::test
