// Launch plan of a recurrent layer whose W_hh stays in shared memory: one kernel takes all sequences through all
// frames.
//
// A group of blocks keeps W_hh of one direction, each block the rows of its units. It takes a few sequences through all
// frames, and then the next ones. After a frame each block needs the h of all units, so the blocks of a group meet once
// a frame. Groups share nothing. A group of one block has all units, and meets nobody.
//
// A frame's time is that of the meeting plus that of reading W_hh and vectors from shared memory: at 128 bytes a cycle
// 0.4 µs for 16 of 257 units of an LSTM. There are two ways to meet:
//
// - By a counter in global memory, 1 to 2 µs. A block takes about as many units as it has warps. It takes more only if
//   more groups can then run at the same time. Blocks wait for blocks that the device might not run yet, so no launch
//   has more blocks than multiprocessors, and it is a cooperative one.
// - By the barrier of a cluster, a fraction of that. Devices have clusters from compute capability 9.0 on, in code that
//   was compiled for it. A group is a cluster. Its blocks write to one another's shared memory. The device begins a
//   cluster only when all its blocks fit on it, and no block waits for one of another cluster. So there is no deadlock,
//   however many groups there are. If a device cannot hold one cluster at all, the launch fails with an error.
//
// A cluster has at most 8 blocks, which every such device allows. 16 blocks need an attribute of the kernel and 16
// multiprocessors that are neighbors. Whether a device has these only the driver can tell, which no plan asks.
#pragma once

#include "plan.h"

namespace lite_rtse::cuda {

// A layer: the number of gates, and the element sizes in shared memory, of W_hh, of the vectors that it is multiplied
// with, and of sums.
struct GroupsLayer {
  int gates;
  int64_t batch, units, directions, weight_size, vector_size, compute_size;

  // How many neighboring numbers of both factors a lane reads at a time: two of half types.
  int64_t neighbors() const { return weight_size == 2 && vector_size == 2 ? 2 : 1; }
};

struct GroupsPlan {
  static constexpr int kSequences = 4;  // that a group takes through the frames together
  static constexpr int kQuad = 4;       // units of a block are a multiple of this
  static constexpr int kMostWarps = 16;
  static constexpr int kSkew = 7;         // numbers, or pairs of them, between two vectors: their banks differ
  static constexpr int kRegisters = 128;  // of a thread, at most
  static constexpr int64_t kMostClusterBlocks = 8;
  // The time of a meeting, by a counter and by a cluster's barrier, in units of the time that a block needs for one of
  // its units. Pairs take half of it. Fewer units than warps take as long as one unit of each warp.
  static constexpr int64_t kMeeting = 4 * kMostWarps, kClusterMeeting = kMostWarps;

  int64_t units = 0;   // of a block; 0 if no launch fits
  int64_t blocks = 0;  // of a group
  int64_t groups = 0;  // of a direction
  int64_t chunks = 0;  // of kSequences sequences
  int64_t length = 0;  // of a vector of all units in shared memory, with zeros behind them
  int64_t pitch = 0;   // from such a vector to the next
  bool clusters = false;
  Geometry geometry;

  // One plan serves both passes.
  GroupsPlan(const GroupsLayer& l, const Device& d)
      : chunks(ceil_div(l.batch, kSequences)), length(round_up(l.units, kWarp)), pitch(length + kSkew * l.neighbors()) {
    int64_t least = 0;
    for (int64_t u = kQuad; u < l.units + kQuad; u += kQuad) {
      const int64_t count = ceil_div(l.units, u), at_once = d.multiprocessors / (count * l.directions);
      for (const bool cluster : {false, true}) {
        if (cluster ? !may_cluster(count, d) : at_once == 0) continue;
        const int64_t bytes = shared_bytes(l, u, cluster);
        if (blocks_per_multiprocessor(d, threads_of(u), bytes, kRegisters) == 0) continue;
        const int64_t meeting = cluster ? kClusterMeeting : count > 1 ? kMeeting : 0;
        // Of clusters it is a guess, which only time depends on.
        const int64_t running = std::max<int64_t>(1, std::min(at_once, chunks));
        const int64_t cost = ceil_div(chunks, running) * (meeting * l.neighbors() + std::max<int64_t>(u, kMostWarps));
        if (units && cost > least) continue;
        least = cost, units = u, blocks = count, groups = running, clusters = cluster;
      }
    }
    if (units && l.batch > 0)
      geometry = {l.directions * groups * blocks, threads_of(units), shared_bytes(l, units, clusters),
                  clusters ? blocks : 1};
  }

  bool fits() const { return units > 0; }
  bool meets_by_counter() const { return blocks > 1 && !clusters; }
  // Of the workspace: a counter for each group of blocks that meet by one.
  int64_t counter_bytes() const {
    return meets_by_counter() ? round_up(geometry.blocks / blocks * int64_t(sizeof(uint64_t)), 256) : 0;
  }

  static constexpr int threads_of(int64_t units) { return int(kWarp * std::min<int64_t>(units, kMostWarps)); }
  static bool may_cluster(int64_t count, const Device& d) {
    return d.sm >= 90 && !d.without_clusters && count > 1 &&
           count <= std::min<int64_t>(kMostClusterBlocks, d.multiprocessors);
  }
  // The weights; the gates' gradients of all units, of a cluster twice; for each of the block's units the parts of a
  // sum and the state.
  int64_t shared_bytes(const GroupsLayer& l, int64_t of, bool cluster) const {
    return l.weight_size * l.gates * of * pitch + (cluster ? 2 : 1) * l.vector_size * kSequences * l.gates * pitch +
           l.compute_size * kSequences * (l.gates + 1) * of;
  }
};

}  // namespace lite_rtse::cuda
