// The one public face of the CPU's kernels: plain C++, no torch, no Python.
//
// Every operator is a Job: a fixed list of independent tasks and a final step that combines what the tasks
// left behind. The caller decides which thread runs which task; a job's results do not depend on it, since
// tasks share nothing and `finish` adds their partial sums in task order. A job whose work has two parts, of which
// the second needs all of the first, names the second as `next`.
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
  // What is left to run once this has finished, null where nothing is.
  virtual std::unique_ptr<Job> next() { return nullptr; }
};

// One build of all kernels for one instruction set.
struct Kernels {
  const char* isa;
  std::unique_ptr<Job> (*causal_dwconv2d)(const CausalDwconv2dArgs&);
  std::unique_ptr<Job> (*causal_dwconv2d_backward)(const CausalDwconv2dBackwardArgs&);
  std::unique_ptr<Job> (*conv_block)(const ConvBlockArgs&);
  std::unique_ptr<Job> (*conv_block_backward)(const ConvBlockBackwardArgs&);
  std::unique_ptr<Job> (*multi_order_conv)(const MultiOrderConvArgs&);
  std::unique_ptr<Job> (*multi_order_conv_backward)(const MultiOrderConvBackwardArgs&);
  std::unique_ptr<Job> (*mask_residual)(const MaskResidualArgs&);
  std::unique_ptr<Job> (*mask_residual_backward)(const MaskResidualBackwardArgs&);
  std::unique_ptr<Job> (*lstm)(const LstmArgs&);
  std::unique_ptr<Job> (*lstm_backward)(const LstmBackwardArgs&);
  // float32 multiply-adds, in FLOP/s, that one thread reaches in registers alone: what the kernels are measured
  // against.
  double (*fma_peak)(double seconds);
  // The same that it reaches in the depthwise stages of the Multi-Order block alone, over so many frames.
  double (*cascade_rate)(int64_t frames);
};

// The best build this machine can run, or the one named by the environment variable LITE_RTSE_ISA.
// Throws std::runtime_error where that names an unknown build or one this machine cannot run.
const Kernels& kernels();

// Names of the builds this machine can run, best first.
std::vector<std::string> runnable_isas();

}  // namespace lite_rtse
