// Built without -fsanitize, and hands over by futexes: ThreadSanitizer must not take that for an order of what blocks
// do.
#include "together.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared_memory.hpp"

namespace simt {

Together* together = nullptr;

namespace {

constexpr size_t kStackBytes = 2 << 20;  // the kernel's threads have stacks of their own

void wait_while_zero(volatile int& word) {
  while (!word) syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
}
void set(volatile int& word) {
  word = 1;
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace

Together::Together(const Work& work, std::vector<Team>& teams, Random& random, Faults& faults)
    : work_(work), teams_(teams), random_(random), faults_(faults) {
  const dim3 g = work.launch.grid;
  const size_t count = size_t(g.x) * g.y * g.z;
  while (teams_.size() < count) teams_.emplace_back();
  for (size_t i = 0; i < count; ++i) {
    const uint3 index{unsigned(i % g.x), unsigned(i / g.x % g.y), unsigned(i / g.x / g.y)};
    seats_.push_back(std::unique_ptr<Seat>(new Seat{*this, index, teams_[i]}));
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
  blockIdx = seat.index;
  reset_shared_memory(work_.launch.shared_bytes);
  auto block = std::make_unique<Block>(work_, seat.team, random_, faults_);
  running = block.get();
  block->run();
  running = nullptr;
  if (faults_.any() && !failed_) failed_ = &seat;
  if (!dynamic_shared_bound_held(work_.launch.shared_bytes)) faults_.report("write behind the dynamic shared memory");
  block.reset();
  std::erase(alive_, &seat);
  if (alive_.empty()) {
    set(ended_);
  } else {
    set(alive_[random_.below(alive_.size())]->turn);
  }
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
