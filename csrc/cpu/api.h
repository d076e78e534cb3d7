// The only public interface of the CPU kernels: plain C++ without torch or Python.
//
// Every operator is a Job: a fixed list of independent tasks and a final step that combines the tasks' results. The
// caller decides which thread runs which task. A job's results do not depend on that choice: tasks share nothing, and
// `finish` adds their partial sums in task order. A job's work may have two parts, of which the second needs all of the
// first. Such a job returns the second part as `next`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../operators.h"

namespace lite_rtse {

class Job {
 public:
  virtual ~Job() = default;
  virtual int64_t tasks() const = 0;
  virtual void run(int64_t task) = 0;
  virtual void finish() {}
  // The job to run after this one has finished; null if there is none.
  virtual std::unique_ptr<Job> next() { return nullptr; }
};

// One build of all kernels for one instruction set.
struct Kernels {
  const char* isa;
  // The float32 multiply-add rate, in FLOP/s, of one thread that works in registers only. The kernels are measured
  // against it.
  double (*fma_peak)(double seconds);
  // The rate, in FLOP/s, of one thread in the depthwise stages of the Multi-Order block, over `frames` frames.
  double (*cascade_rate)(int64_t frames);
  // The entry points of every operator: `name` and `name_backward`.
#define LITE_RTSE_ENTRIES(name, Struct)              \
  std::unique_ptr<Job> (*name)(const Struct##Args&); \
  std::unique_ptr<Job> (*name##_backward)(const Struct##BackwardArgs&);
  LITE_RTSE_OPERATORS(LITE_RTSE_ENTRIES)
#undef LITE_RTSE_ENTRIES
};

// The best build that this machine can run, or the build that the environment variable LITE_RTSE_ISA names. Throws
// std::runtime_error if the variable names an unknown build or a build that this machine cannot run.
const Kernels& kernels();

// Names of the builds that this machine can run, best first.
std::vector<std::string> runnable_isas();

}  // namespace lite_rtse
