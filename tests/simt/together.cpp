// Built without -fsanitize, and hands over by futexes: ThreadSanitizer must not take that for an order of what blocks
// do.
#include "together.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "shared_memory.hpp"

namespace simt {

Together* together = nullptr;

namespace {

constexpr size_t kStackBytes = 2 << 20;  // the kernel's threads have stacks of their own

// The number of the last one whose blocks have all ended. Until then their threads of the host stay, and with them
// their shared memory. Then they outlive it for a while.
volatile int last_ended = 0;
int made = 0;

void wait_while_less(volatile int& word, int value) {
  for (int seen; (seen = word) < value;) syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}
void wait_while_zero(volatile int& word) { wait_while_less(word, 1); }
void set(volatile int& word, int value = 1) {
  word = value;
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

Together::Together(const Work& work, uint64_t first, unsigned count, bool one_cluster, std::vector<Team>& teams,
                   Random& random, Faults& faults)
    : work_(work), teams_(teams), random_(random), faults_(faults), number_(++made) {
  const dim3 g = work.launch.grid, b = work.launch.block;
  const unsigned blocks = one_cluster ? count : 1;  // of a cluster
  while (teams_.size() < count) teams_.emplace_back();
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t at = first + i;
    const uint3 index{unsigned(at % g.x), unsigned(at / g.x % g.y), unsigned(at / g.x / g.y)};
    if (i % blocks == 0) clusters_.push_back(std::make_unique<Cluster>(blocks, b.x * b.y * b.z));
    seats_.push_back(std::unique_ptr<Seat>(new Seat{*this, index, teams_[i], *clusters_.back(), i % blocks}));
    alive_.push_back(seats_.back().get());
  }
}

void Together::run() {
  together = this;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  for (const auto& seat : seats_) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, enter, seat.get())) {
      faults_.report("no thread of the host for a block of a cooperative launch");
      std::erase(alive_, seat.get());
    }
  }
  pthread_attr_destroy(&attributes);
  const bool any = !alive_.empty();
  if (any) set(alive_[random_.below(alive_.size())]->turn);
  if (any) wait_while_zero(ended_);
  for (const auto& cluster : clusters_)
    for (const Cluster::Member& member : cluster->members)
      if (!seal_held(member.memory, work_.launch.shared_bytes))
        faults_.report("write to the shared memory of a block that has exited");
  set(last_ended, number_);
  together = nullptr;
  if (failed_) blockIdx = failed_->index;
}

void* Together::enter(void* seat) {
  auto* const mine = static_cast<Seat*>(seat);
  mine->all.occupy(*mine);
  return nullptr;
}

// A block's life. Blocks whose turn comes after a fault end at once.
void Together::occupy(Seat& seat) {
  wait_while_zero(seat.turn);
  const int number = number_;
  const size_t shared_bytes = work_.launch.shared_bytes;
  Cluster::Member& member = seat.cluster.members[seat.rank];
  blockIdx = seat.index;
  member.memory = reset_shared_memory(shared_bytes);
  member.life = Cluster::Member::running;
  auto block = std::make_unique<Block>(work_, seat.team, seat.cluster, seat.rank, random_, faults_);
  running = block.get();
  block->run();
  running = nullptr;
  if (faults_.any() && !failed_) failed_ = &seat;
  if (!dynamic_shared_bound_held(shared_bytes)) faults_.report("write behind the dynamic shared memory");
  block.reset();
  member.life = Cluster::Member::exited;
  seal(member.memory, shared_bytes);
  std::erase(alive_, &seat);
  if (alive_.empty()) {
    set(ended_);
  } else {
    set(alive_[random_.below(alive_.size())]->turn);
  }
  wait_while_less(last_ended, number);
}

void Together::pass_on() {
  if (alive_.size() < 2) return;
  Seat* mine = nullptr;
  std::vector<Seat*> others;
  for (Seat* seat : alive_) {
    if (seat->turn) {
      mine = seat;
    } else {
      others.push_back(seat);
    }
  }
  Block* const block = running;
  mine->turn = 0;
  set(others[random_.below(others.size())]->turn);
  wait_while_zero(mine->turn);
  running = block;
  blockIdx = mine->index;
}

}  // namespace simt
