// The blocks of a cooperative launch, or of a cluster: each has a thread of the host, since its shared memory is
// thread-local, and one runs at a time. Internal to the emulator.
#pragma once

#include <memory>
#include <vector>

#include "block.hpp"

namespace simt {

class Together {
 public:
  // Blocks [first, first + count) of the grid. They are one cluster, or each is one of its own.
  Together(const Work&, uint64_t first, unsigned count, bool one_cluster, std::vector<Team>&, Random&, Faults&);
  // Runs all blocks to their ends, or to the first fault.
  void run();
  // Called by the block that runs: another goes on, and later this one again. Nothing happens if it is alone.
  void pass_on();

 private:
  struct Seat {
    Together& all;
    uint3 index;
    Team& team;
    Cluster& cluster;
    unsigned rank;
    volatile int turn = 0;
  };
  static void* enter(void*);
  void occupy(Seat&);

  const Work& work_;
  std::vector<Team>& teams_;
  Random& random_;
  Faults& faults_;
  std::vector<std::unique_ptr<Cluster>> clusters_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::vector<Seat*> alive_;      // of the blocks that have not ended; the one that runs has the turn
  const Seat* failed_ = nullptr;  // whose block had the first fault
  volatile int ended_ = 0;
  const int number_;  // of this object among all
};

// The blocks that run by turns, or null.
extern Together* together;

}  // namespace simt
