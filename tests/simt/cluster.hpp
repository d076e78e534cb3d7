// The blocks of a cluster: their barrier, and one another's shared memory. A block of any other launch is a cluster of
// its own. Internal to the emulator.
#pragma once

#include <vector>

#include "shared_memory.hpp"

namespace simt {

struct Cluster {
  struct Member {
    enum { waiting, running, exited } life = waiting;
    SharedMemory memory;
  };

  Cluster(unsigned blocks, unsigned threads_per_block) : members(blocks), threads(blocks * threads_per_block) {}

  // Whether blocks may still wait for others: not if none has gone on for so long.
  bool has_patience() { return ++idle_turns <= kPatience * members.size(); }

  static constexpr unsigned kPatience = 64;  // turns of each block
  std::vector<Member> members;               // by rank
  const unsigned threads;
  unsigned arrived = 0;  // threads, at the barrier that is open
  unsigned passed = 0;   // barriers that all have arrived at
  unsigned idle_turns = 0;
  char sync[2] = {};  // of the barrier that is open, and of the one before, which threads may yet have to leave
};

}  // namespace simt
