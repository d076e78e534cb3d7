// Runs kernels on an operator's arguments: on PyTorch's threads on the CPU, on PyTorch's current stream on a GPU.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include "../cpu/api.h"
#include "../cpu/memory.h"
#ifdef LITE_RTSE_CUDA
#include "cuda.h"
#endif

namespace lite_rtse::ops {

// Runs a job's tasks on PyTorch's threads, and then the next job. An exception in a task must not cross the thread
// pool's C boundary. The first exception is therefore kept and thrown again here. A task throws nothing but want of
// memory.
inline void run_tasks(Job& job) {
  std::mutex mutex;
  std::optional<OutOfMemory> failure;
  const auto keep = [&](const OutOfMemory& error) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!failure) failure = error;
  };
  torch::stable::parallel_for(0, job.tasks(), 1, [&](int64_t begin, int64_t end) {
    try {
      for (int64_t task = begin; task < end; ++task) job.run(task);
      trim_thread_scratch();
    } catch (const OutOfMemory& error) {
      keep(error);
    } catch (...) {
      keep(OutOfMemory());
    }
  });
  if (failure) throw *failure;
  job.finish();
  if (const std::unique_ptr<Job> next = job.next()) run_tasks(*next);
}

template <class Arguments>
using MakeJob = std::unique_ptr<Job> (*)(const Arguments&);

// Runs an operator on the CPU; `make` is its entry for these arguments. If the kernels find no memory for their own
// use, the error has the words of PyTorch's allocator.
template <class Arguments>
void run_on_cpu(MakeJob<Arguments> Kernels::* make, const Arguments& arguments) {
  try {
    run_tasks(*(kernels().*make)(arguments));
  } catch (const OutOfMemory& e) {
    throw std::runtime_error(std::string("DefaultCPUAllocator: ") + e.what());
  } catch (const std::bad_alloc&) {
    throw std::runtime_error("DefaultCPUAllocator: can't allocate memory");
  }
}

// Runs an operator on the device of `x`, which holds all its tensors. A GPU's entry is found by the arguments' type. On
// a GPU this function only enqueues.
template <class Arguments>
void run([[maybe_unused]] const char* name, MakeJob<Arguments> Kernels::* make, const Arguments& arguments,
         [[maybe_unused]] const torch::stable::Tensor& x) {
#ifdef LITE_RTSE_CUDA
  if (x.is_cuda()) return enqueue(name, arguments, x);
#endif
  run_on_cpu(make, arguments);
}

}  // namespace lite_rtse::ops
