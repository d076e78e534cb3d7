// Launches: checks them, and runs the blocks or the clusters of a grid one after another, in random order.
//
// Built without -fsanitize; kernels are built with it.
#include "simt.hpp"

#include <pthread.h>
#include <sched.h>

#include <memory>
#include <numeric>
#include <unordered_map>

#include "block.hpp"
#include "fiber.hpp"
#include "shared_memory.hpp"
#include "symbols.hpp"
#include "together.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt {
namespace {

struct Emulator {
  Limits limits;
  Options options;
  Random random{0};
  std::vector<Launch> launches;
  std::unordered_map<const void*, size_t> opted_in;  // bytes of dynamic shared memory
  Faults faults;
  cudaError_t last_error = cudaSuccess;
  // Under ThreadSanitizer consecutive blocks use different fibers: the same fiber would order what two blocks do.
  Team teams[2];
  std::vector<Team> teams_together[2];  // of blocks that run by turns
  char grid_end = 0;
};
Emulator& emulator = *new Emulator;

// Dynamic shared memory may be as much as the kernel has opted in to; without that, what its fixed arrays leave of what
// any kernel may have.
cudaError_t check_launch(const Launch& launch) {
  const dim3 g = launch.grid, b = launch.block;
  const bool grid_fits = g.x && g.y && g.z && g.x <= 0x7fffffff && g.y <= 65535 && g.z <= 65535;
  const bool block_fits = b.x && b.y && b.z && b.x <= 1024 && b.y <= 1024 && b.z <= 64 &&
                          uint64_t(b.x) * b.y * b.z <= emulator.limits.threads_per_block;
  if (!grid_fits || !block_fits) return cudaErrorInvalidConfiguration;
  const auto opted_in = emulator.opted_in.find(launch.kernel);
  const bool shared_fits = opted_in != emulator.opted_in.end()
                               ? launch.shared_bytes <= opted_in->second
                               : launch.static_shared_bytes + launch.shared_bytes <= emulator.limits.shared_per_block;
  return shared_fits ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t failed(cudaError_t error, const std::string& what) {
  emulator.faults.report(what);
  return emulator.last_error = error;
}

// What `where` does on a stream may go on: nothing has failed before, and the stream is the caller's.
cudaError_t check_stream(const char* where, cudaStream_t stream) {
  if (emulator.faults.any()) return emulator.last_error = cudaErrorLaunchFailure;
  if (stream == emulator.options.stream) return cudaSuccess;
  return failed(cudaErrorInvalidValue, std::string(where) + " on another stream than the caller's");
}

bool has_attribute(const cudaLaunchConfig_t& config, cudaLaunchAttributeID id) {
  return config.numAttrs == 1 && config.attrs && config.attrs->id == id;
}

dim3 cluster_dimension(const cudaLaunchConfig_t& config) {
  const auto& d = config.attrs->val.clusterDim;
  return {d.x, d.y, d.z};
}

// Clusters of neighbors along x alone are emulated. A grid has whole clusters.
bool cluster_fits(const Launch& launch, const dim3& size) {
  return size.y == 1 && size.z == 1 && size.x >= 1 && size.x <= emulator.limits.cluster_blocks &&
         launch.grid.x % size.x == 0;
}

std::string description(const Launch& launch) {
  return kernel_name(launch.kernel) + " of grid " + text({launch.grid.x, launch.grid.y, launch.grid.z}) + ", block " +
         text({launch.block.x, launch.block.y, launch.block.z}) + ", " + std::to_string(launch.shared_bytes) +
         " bytes of dynamic and " + std::to_string(launch.static_shared_bytes) + " of static shared memory";
}

void run_block(const Work& work, Team& team) {
  Cluster alone(1, work.launch.block.x * work.launch.block.y * work.launch.block.z);
  alone.members[0] = {Cluster::Member::running, reset_shared_memory(work.launch.shared_bytes)};
  // On the heap, freed after each block: ThreadSanitizer knows synchronisation by its address.
  auto block = std::make_unique<Block>(work, team, alone, 0, emulator.random, emulator.faults);
  running = block.get();
  block->run();
  running = nullptr;
  if (!dynamic_shared_bound_held(work.launch.shared_bytes))
    emulator.faults.report("write behind the dynamic shared memory");
}

// Under ThreadSanitizer a block gets a thread of its own, so that its shared memory is new and nothing orders it after
// the block before; joining it would. The wait is not seen by ThreadSanitizer, since this file is built without.
void run_block_in_thread(const Work& work, Team& team) {
  struct Job {
    const Work& work;
    Team& team;
    volatile bool done;
  } job{work, team, false};
  const auto body = [](void* data) -> void* {
    auto* j = static_cast<Job*>(data);
    run_block(j->work, j->team);
    j->done = true;
    return nullptr;
  };
  pthread_t thread;
  if (pthread_create(&thread, nullptr, body, &job))
    return emulator.faults.report("no thread of the host for a block under ThreadSanitizer");
  pthread_detach(thread);
  while (!job.done) sched_yield();
}

std::vector<uint64_t> shuffled(uint64_t count) {
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t(0));
  emulator.random.shuffle(order);
  return order;
}

uint64_t blocks_of(const Launch& launch) { return uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z; }

void run_together(const Work& work) {
  const auto blocks = unsigned(blocks_of(work.launch));
  Together(work, 0, blocks, false, emulator.teams_together[0], emulator.random, emulator.faults).run();
}

void run_clusters(const Work& work) {
  const unsigned size = work.launch.cluster;
  unsigned turn = 0;
  for (const uint64_t cluster : shuffled(blocks_of(work.launch) / size)) {
    auto& teams = emulator.teams_together[under_tsan() ? turn++ % 2 : 0];
    Together(work, cluster * size, size, true, teams, emulator.random, emulator.faults).run();
    if (emulator.faults.any()) return;
  }
}

void run_one_by_one(const Work& work) {
  const dim3 g = work.launch.grid;
  const std::vector<uint64_t> order = shuffled(blocks_of(work.launch));
  for (size_t i = 0; i < order.size() && !emulator.faults.any(); ++i) {
    blockIdx = {unsigned(order[i] % g.x), unsigned(order[i] / g.x % g.y), unsigned(order[i] / g.x / g.y)};
    (under_tsan() ? run_block_in_thread : run_block)(work, emulator.teams[under_tsan() ? i % 2 : 0]);
  }
}

}  // namespace

void configure(const Limits& limits, const Options& options) {
  emulator.limits = limits;
  emulator.options = options;
  emulator.random = Random(options.seed);
  emulator.launches.clear();
  emulator.opted_in.clear();
  emulator.faults.clear();
  emulator.last_error = cudaSuccess;
}

const std::vector<Launch>& launches() { return emulator.launches; }
const std::string& report() { return emulator.faults.first(); }

cudaError_t run_grid(const cudaLaunchConfig_t& config, const void* kernel, void (*run)(void*), void* arguments) {
  if (const cudaError_t error = check_stream("cudaLaunchKernelEx", config.stream)) return error;
  const bool cooperative = has_attribute(config, cudaLaunchAttributeCooperative) && config.attrs->val.cooperative;
  const bool clustered = has_attribute(config, cudaLaunchAttributeClusterDimension);
  if (config.numAttrs && !cooperative && !clustered)
    return failed(cudaErrorInvalidValue, "launch attributes but cooperative and cluster are not emulated");
  if (!is_known(kernel)) return failed(cudaErrorInvalidDeviceFunction, "a kernel without a name in the symbol table");
  const dim3 cluster = clustered ? cluster_dimension(config) : dim3(1);
  const Launch launch{kernel,   config.gridDim, config.blockDim, config.dynamicSmemBytes, static_shared_bytes(kernel),
                      cluster.x};
  if (const cudaError_t invalid = check_launch(launch))
    return failed(invalid, "invalid launch: " + description(launch));
  if (clustered && !cluster_fits(launch, cluster))
    return failed(cudaErrorInvalidClusterSize,
                  "invalid cluster of " + text({cluster.x, cluster.y, cluster.z}) + " blocks: " + description(launch));
  if (cooperative && blocks_of(launch) > emulator.limits.multiprocessors)
    return failed(cudaErrorCooperativeLaunchTooLarge, "too many blocks to run together: " + description(launch));
  emulator.launches.push_back(launch);
  if (!emulator.options.execute) return cudaSuccess;

  const Work work{launch, run, arguments, &emulator.grid_end};
  gridDim = launch.grid;
  blockDim = launch.block;
  polls = 0;
  if (cooperative) {
    run_together(work);
  } else if (clustered) {
    run_clusters(work);
  } else {
    run_one_by_one(work);
  }
  tsan_acquire(&emulator.grid_end);
  if (!emulator.faults.any()) return cudaSuccess;
  emulator.faults.prefix(kernel_name(launch.kernel) + ", block " + text(blockIdx) + ": ");
  return emulator.last_error = cudaErrorLaunchFailure;
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (emulator.faults.any()) return emulator.last_error = cudaErrorLaunchFailure;
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;  // a hint
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
    return failed(cudaErrorInvalidValue, "cudaFuncSetAttribute: this attribute is not emulated");
  const size_t fixed = static_shared_bytes(kernel);
  if (value < 0 || fixed + size_t(value) > emulator.limits.shared_opt_in)
    return failed(cudaErrorInvalidValue, "cudaFuncSetAttribute: " + kernel_name(kernel) + " cannot have " +
                                             std::to_string(value) + " bytes of dynamic shared memory beside " +
                                             std::to_string(fixed) + " of static");
  emulator.opted_in[kernel] = size_t(value);
  return cudaSuccess;
}

void barrier(Where where) { running->barrier(where, 0); }
void named_barrier(unsigned id, unsigned count, Where where) {
  constexpr unsigned kMost = 16;
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  if (id == 0 || id >= kMost) fail("barrier " + std::to_string(id) + ": names go from 1 to 15", where);
  if (count != threads)
    fail("barrier " + std::to_string(id) + " for " + std::to_string(count) + " of " + std::to_string(threads) +
             " threads: parts of a block are not emulated",
         where);
  running->barrier(where, id);
}
void poll(Where where) { running->poll(where); }
void cluster_arrive(bool release, Where where) { running->cluster_arrive(release, where); }
void cluster_wait(Where where) { running->cluster_wait(where); }
unsigned cluster_rank() { return running->rank(); }
void* map_shared(const void* address, unsigned rank, Where where) { return running->map_shared(address, rank, where); }
void note_progress() { polls = 0; }
void maybe_yield() {
  constexpr size_t kOneIn = 8;
  if (running && emulator.random.below(kOneIn) == 0) running->yield();
}
void fail(const std::string& what, Where where) { running->fail(what, where); }
unsigned lane() { return running->current().lane(); }
unsigned warp_operation(WarpOp op, unsigned mask, int source, Slot& slot, bool predicate, Where where) {
  return running->warp_operation(op, mask, source, slot, predicate, where);
}

}  // namespace simt

cudaError_t cudaPeekAtLastError() { return simt::emulator.last_error; }
cudaError_t cudaGetLastError() { return std::exchange(simt::emulator.last_error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaSuccess) return "no error";
  return simt::emulator.faults.any() ? simt::emulator.faults.first().c_str() : "unknown error";
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (const cudaError_t error = simt::check_stream("cudaMemsetAsync", stream)) return error;
  if (simt::emulator.options.execute && bytes) std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (const cudaError_t error = simt::check_stream("cudaMemcpyAsync", stream)) return error;
  if (simt::emulator.options.execute && bytes) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
