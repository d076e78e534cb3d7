// One block of a grid, its threads as fibers. Internal to the emulator.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cluster.hpp"
#include "fiber.hpp"
#include "simt.hpp"

namespace simt {

constexpr unsigned kWarpSize = 32, kSyncObjects = 4;

// xorshift64*: the same schedule for the same seed on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_((seed + 1) * 0x9e3779b97f4a7c15u | 1) {}
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  size_t below(size_t n) { return size_t((next() >> 32) * n >> 32); }
  bool coin() { return next() >> 63; }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  uint64_t state_;
};

enum class State : uint8_t { ready, polled, at_barrier, at_cluster_barrier, in_warp_operation, exited };

struct Thread {
  Fiber fiber;
  uint3 index{};
  unsigned number = 0;
  State state = State::ready;
  Where where;                                 // of the barrier or warp operation it waits at
  unsigned barrier = 0;                        // its name; 0 is __syncthreads
  unsigned barriers = 0, warp_operations = 0;  // that it has left behind
  unsigned cluster_arrivals = 0, cluster_waits = 0;
  int source = 0;  // what it brought to a warp operation, and what it takes from it
  Slot slot{};
  unsigned ballot = 0;

  unsigned lane() const { return number % kWarpSize; }
  unsigned warp() const { return number / kWarpSize; }
};

// Lanes that wait for one another. Lanes of disjoint masks may do so at the same time.
struct Meeting {
  unsigned mask, arrived, ballot;
  WarpOp op;
  Where where;
  char* sync;
};

struct Warp {
  std::vector<Meeting> open;
  unsigned opened = 0;
  char sync[kSyncObjects];  // taken in turn, so that who is late to leave one does not meet who is early at the next
};

// Threads are kept for later blocks, since making a fiber is slow.
using Team = std::vector<std::unique_ptr<Thread>>;

// What a launch asks of each of its blocks.
struct Work {
  const Launch& launch;
  void (*kernel)(void*);
  void* arguments;
  char* grid_end;  // synchronises the end of every block with the host
};

// The first report stays: what follows from a fault is rarely of interest. Threads write it and the host reads it,
// which ThreadSanitizer has to know, since it sees how texts are allocated.
class Faults {
 public:
  void report(const std::string& what);
  void prefix(const std::string& where);
  void clear();
  bool any() const { return !first_.empty(); }
  const std::string& first();

 private:
  std::string first_;
};

std::string text(const uint3&);
std::string text(const Where&);

class Block {
 public:
  // `rank`: its place in the cluster.
  Block(const Work&, Team&, Cluster&, unsigned rank, Random&, Faults&);
  void run();

  void barrier(Where, unsigned id);
  unsigned warp_operation(WarpOp, unsigned mask, int source, Slot&, bool predicate, Where);
  void poll(Where);
  void cluster_arrive(bool release, Where);
  void cluster_wait(Where);
  unsigned rank() const { return rank_; }
  void* map_shared(const void* address, unsigned rank, Where);
  [[noreturn]] void fail(const std::string& what, Where);
  void yield() { current_->fiber.switch_to(scheduler_); }
  Thread& current() { return *current_; }

 private:
  static void enter();
  void leave();
  bool resume(Thread&);
  bool one_round();
  bool warp_by_warp();
  void release_barrier();
  void report_deadlock();
  bool wake();
  bool leaves_off(size_t items);
  Meeting& join(Thread&, unsigned mask, WarpOp, Where);
  void conclude(Warp&, const Meeting&, unsigned first_thread, unsigned lanes);

  const Work& work_;
  Team& threads_;
  Cluster& cluster_;
  const unsigned rank_;
  Random& random_;
  Faults& faults_;
  const unsigned count_;
  unsigned alive_, at_barrier_ = 0;
  Fiber scheduler_;
  Thread* current_ = nullptr;
  std::vector<Warp> warps_;
  std::vector<unsigned> thread_order_, warp_order_;
  char start_ = 0, barrier_sync_[2] = {};
};

// How often threads have looked at counters since something happened that one may wait for.
extern unsigned polls;

// The block whose threads are running, or null.
extern Block* running;

}  // namespace simt
