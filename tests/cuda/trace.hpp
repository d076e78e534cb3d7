// What is counted of a kernel's accesses to memory. Mirrored in trace.py.
#pragma once

#include <cstdint>

namespace trace {

// One launch, as far as it was run. Bytes of global memory: what each block touches, every byte once a block, and of
// the operator's parameters every byte once a launch.
struct LaunchCount {
  char kernel[256];
  int64_t blocks, blocks_run, threads, shared_bytes, static_shared_bytes;
  int64_t read_bytes, written_bytes, parameter_bytes;
  int64_t arrivals;      // at counters, or at the barriers of clusters, that blocks wait for
  int64_t cluster;       // blocks of one
  int64_t remote_bytes;  // written to the shared memory of the blocks of a cluster
};

// One load or store in the code of a kernel, or 16 bytes of a wider one, in one launch.
struct SiteCount {
  int64_t launch, place, part, width, shared, parameter, store;
  int64_t requests;  // accesses of warps
  int64_t accesses;  // of threads
  int64_t passes;    // through shared memory, or sectors of global memory
  int64_t fewest;    // passes through shared memory if no two words were in one bank
  int64_t worst;     // words that one pass's worth of lanes wants from one bank
};

}  // namespace trace
