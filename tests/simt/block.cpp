// Built without -fsanitize; it tells ThreadSanitizer what synchronises.
#include "block.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "together.hpp"

namespace simt {

Block* running = nullptr;
unsigned polls = 0;

std::string text(const uint3& v) { return std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z); }

std::string text(const Where& where) {
  const std::string path = where.file;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(where.line);
}
std::string barrier_text(const Thread& thread) {
  const std::string name = thread.barrier ? "barrier " + std::to_string(thread.barrier) : "__syncthreads";
  return name + " at " + text(thread.where);
}

namespace {
bool same_line(const Where& a, const Where& b) { return a.line == b.line && !std::strcmp(a.file, b.file); }
bool is_mma(WarpOp op) { return op == WarpOp::mma_f16 || op == WarpOp::mma_bf16; }

void multiply_all(const Slot (&brought)[kWarpSize], WarpOp op) {
  const Fragments* lanes[kWarpSize];
  for (unsigned lane = 0; lane < kWarpSize; ++lane) std::memcpy(&lanes[lane], &brought[lane], sizeof(lanes[lane]));
  multiply(lanes, op == WarpOp::mma_bf16);
}
}  // namespace

void Faults::report(const std::string& what) {
  if (!any()) first_ = what;
  tsan_release(this);
}

void Faults::prefix(const std::string& where) { first_ = where + first(); }

void Faults::clear() {
  tsan_acquire(this);
  first_.clear();
}

const std::string& Faults::first() {
  tsan_acquire(this);
  return first_;
}

Block::Block(const Work& work, Team& team, Cluster& cluster, unsigned rank, Random& random, Faults& faults)
    : work_(work), threads_(team), cluster_(cluster), rank_(rank), random_(random), faults_(faults),
      count_(work.launch.block.x * work.launch.block.y * work.launch.block.z), alive_(count_),
      warps_((count_ + kWarpSize - 1) / kWarpSize), thread_order_(count_), warp_order_(warps_.size()) {
  std::iota(thread_order_.begin(), thread_order_.end(), 0u);
  std::iota(warp_order_.begin(), warp_order_.end(), 0u);
  for (Warp& warp : warps_) warp.open.reserve(kWarpSize);  // threads must not allocate: ThreadSanitizer sees it
  while (threads_.size() < count_) threads_.push_back(std::make_unique<Thread>());
  const dim3 b = work.launch.block;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    thread.index = {i % b.x, i / b.x % b.y, i / (b.x * b.y)};
    thread.number = i;
    thread.state = State::ready;
    thread.barriers = thread.warp_operations = thread.cluster_arrivals = thread.cluster_waits = 0;
    thread.fiber.prepare(enter, i);
  }
}

void Block::enter() {
  Fiber::entered_from(running->scheduler_);
  tsan_acquire(&running->start_);
  running->work_.kernel(running->work_.arguments);
  tsan_release(running->work_.grid_end);
  running->leave();
  __builtin_unreachable();
}

void Block::leave() {
  Thread& me = *current_;
  for (const Meeting& meeting : warps_[me.warp()].open)
    if (meeting.mask >> me.lane() & 1)
      faults_.report("warp operation at " + text(meeting.where) + " waits for a lane that has exited");
  me.state = State::exited;
  --alive_;
  me.fiber.switch_to(scheduler_, true);
}

// Two adversarial schedules, drawn anew for every stretch between two barriers. In rounds, all threads take turns in
// random order; or warp by warp, where one warp after another goes as far as it can, which is what shows that a barrier
// is missing between the last reads of a buffer and its next writes.
void Block::run() {
  scheduler_.adopt_current();
  tsan_release(&start_);
  bool in_rounds = random_.coin();
  while (alive_ && !faults_.any()) {
    const bool progress = in_rounds ? one_round() : warp_by_warp();
    if (faults_.any()) break;
    const bool waits = wake();
    if (progress) cluster_.idle_turns = 0;
    if (together && (waits || random_.coin())) together->pass_on();
    if (alive_ && at_barrier_ == alive_) {
      release_barrier();
      in_rounds = random_.coin();
    } else if (alive_ && !progress && !(waits && cluster_.has_patience())) {
      report_deadlock();
    }
  }
}

// Threads that looked at a counter may look again, and those at a barrier of the cluster that all have arrived at may
// go on. Returns whether any wait for other blocks, or have done so.
bool Block::wake() {
  bool any = false;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    if (thread.state != State::polled && thread.state != State::at_cluster_barrier) continue;
    any = true;
    if (thread.state == State::at_cluster_barrier && cluster_.passed < thread.cluster_arrivals) continue;
    thread.state = State::ready;
  }
  return any;
}

void Block::poll(Where where) {
  constexpr unsigned kMost = 100'000;
  if (++polls > kMost) fail("deadlock: a counter is waited for that no thread changes", where);
  current_->state = State::polled;
  yield();
}

bool Block::resume(Thread& thread) {
  if (thread.state != State::ready || faults_.any()) return false;
  current_ = &thread;
  threadIdx = thread.index;
  scheduler_.switch_to(thread.fiber);
  return true;
}

// Whether another block goes on before all threads, or warps, of this one have moved.
bool Block::leaves_off(size_t items) { return together && random_.below(items) == 0; }

bool Block::one_round() {
  random_.shuffle(thread_order_);
  bool progress = false;
  for (unsigned i : thread_order_) {
    progress |= resume(*threads_[i]);
    if (progress && leaves_off(count_)) break;
  }
  return progress;
}

bool Block::warp_by_warp() {
  random_.shuffle(warp_order_);
  bool progress = false;
  for (unsigned warp : warp_order_) {
    const unsigned first = warp * kWarpSize, lanes = std::min(kWarpSize, count_ - first);
    const unsigned rotation = unsigned(random_.below(lanes));
    const bool reverse = random_.coin();
    for (bool moved = true; moved;) {
      moved = false;
      for (unsigned i = 0; i < lanes; ++i) {
        const unsigned lane = (i + rotation) % lanes;
        moved |= resume(*threads_[first + (reverse ? lanes - 1 - lane : lane)]);
      }
      progress |= moved;
    }
    if (progress && leaves_off(warps_.size())) break;
  }
  return progress;
}

void Block::release_barrier() {
  polls = 0;
  const Thread* first = nullptr;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    if (thread.state != State::at_barrier) continue;
    if (!first) first = &thread;
    if (first->barrier != thread.barrier)
      return faults_.report("some threads at " + barrier_text(*first) + ", others at " + barrier_text(thread));
    if (first->barrier == 0 && !same_line(first->where, thread.where))
      return faults_.report("divergent __syncthreads: some threads at " + text(first->where) + ", others at " +
                            text(thread.where));
  }
  if (at_barrier_ != count_)
    return faults_.report(barrier_text(*first) + " is reached by " + std::to_string(at_barrier_) + " of " +
                          std::to_string(count_) + " threads, the others have exited");
  for (unsigned i = 0; i < count_; ++i) threads_[i]->state = State::ready;
  at_barrier_ = 0;
}

void Block::report_deadlock() {
  constexpr int kMostShown = 4;
  std::string what = "deadlock:";
  for (unsigned i = 0, shown = 0; i < count_ && shown < kMostShown; ++i) {
    const Thread& thread = *threads_[i];
    if (thread.state == State::exited) continue;
    what += (shown++ ? ", thread " : " thread ") + std::to_string(i) + " waits at " +
            (thread.state == State::at_barrier           ? "barrier "
             : thread.state == State::at_cluster_barrier ? "the cluster's barrier "
                                                         : "warp operation ") +
            text(thread.where);
  }
  faults_.report(what);
}

void Block::barrier(Where where, unsigned id) {
  Thread& me = *current_;
  me.where = where;
  me.barrier = id;
  me.state = State::at_barrier;
  ++at_barrier_;
  char* sync = &barrier_sync_[me.barriers++ % 2];
  tsan_release(sync);
  yield();
  tsan_acquire(sync);
}

void Block::cluster_arrive(bool release, Where where) {
  Thread& me = *current_;
  if (me.cluster_arrivals++ != me.cluster_waits) fail("a thread arrives twice at the cluster's barrier", where);
  if (release) tsan_release(&cluster_.sync[me.cluster_arrivals % 2]);
  if (random_.coin()) yield();
  if (++cluster_.arrived < cluster_.threads) return;
  cluster_.arrived = 0;
  ++cluster_.passed;
}

void Block::cluster_wait(Where where) {
  Thread& me = *current_;
  if (me.cluster_waits == me.cluster_arrivals) fail("a thread waits at the cluster's barrier without arriving", where);
  me.where = where;
  me.state = State::at_cluster_barrier;
  yield();
  ++me.cluster_waits;
  tsan_acquire(&cluster_.sync[me.cluster_waits % 2]);
}

void* Block::map_shared(const void* address, unsigned rank, Where where) {
  using Member = Cluster::Member;
  if (rank >= cluster_.members.size()) fail("the cluster has no block of rank " + std::to_string(rank), where);
  const SharedMemory& mine = cluster_.members[rank_].memory;
  const Member& member = cluster_.members[rank];
  const auto offset = size_t(static_cast<const unsigned char*>(address) - mine.begin);
  if (offset >= mine.bytes) fail("an address that is none of shared memory", where);
  if (member.life != Member::running)
    fail("shared memory of a block that has " + std::string(member.life == Member::exited ? "exited" : "not begun"),
         where);
  return member.memory.begin + offset;
}

// The meeting of the lanes of `mask`, opened by the first of them to come.
Meeting& Block::join(Thread& me, unsigned mask, WarpOp op, Where where) {
  Warp& warp = warps_[me.warp()];
  for (Meeting& meeting : warp.open) {
    const bool waits_for_me = meeting.mask >> me.lane() & 1, i_wait_for_it = meeting.arrived & mask;
    const bool same = meeting.mask == mask && meeting.op == op && same_line(meeting.where, where);
    if (same) return meeting;
    if (waits_for_me && i_wait_for_it)
      fail("lanes of one warp are at different operations or masks: also at " + text(meeting.where), where);
  }
  for (unsigned lane = 0; lane < kWarpSize; ++lane)
    if (mask >> lane & 1 && threads_[me.number - me.lane() + lane]->state == State::exited)
      fail("warp operation waits for a lane that has exited", where);
  warp.open.push_back({mask, 0, 0, op, where, &warp.sync[warp.opened++ % kSyncObjects]});
  return warp.open.back();
}

// Hands out the results and lets the lanes go on.
void Block::conclude(Warp& warp, const Meeting& done, unsigned first_thread, unsigned lanes) {
  Slot brought[kWarpSize];
  for (unsigned lane = 0; lane < lanes; ++lane) brought[lane] = threads_[first_thread + lane]->slot;
  if (is_mma(done.op)) multiply_all(brought, done.op);
  for (unsigned lane = 0; lane < lanes; ++lane) {
    if (!(done.mask >> lane & 1)) continue;
    Thread& thread = *threads_[first_thread + lane];
    const bool takes_part = unsigned(thread.source) < lanes && (done.mask >> thread.source & 1);
    if (done.op == WarpOp::shuffle) {
      if (takes_part) {
        thread.slot = brought[thread.source];
      } else {
        std::memset(&thread.slot, 0xff, sizeof(Slot));  // undefined on the device
      }
    }
    thread.ballot = done.ballot;
    thread.state = State::ready;
  }
  const unsigned mask = done.mask;
  std::erase_if(warp.open, [mask](const Meeting& meeting) { return meeting.mask == mask; });
}

unsigned Block::warp_operation(WarpOp op, unsigned mask, int source, Slot& slot, bool predicate, Where where) {
  Thread& me = *current_;
  const unsigned first_thread = me.number - me.lane(), lanes = std::min(kWarpSize, count_ - first_thread);
  if (is_mma(op) && lanes < kWarpSize) fail("mma in a warp of " + std::to_string(lanes) + " lanes", where);
  if (lanes < kWarpSize) mask &= (1u << lanes) - 1;  // of a warp that is not full
  if (!(mask >> me.lane() & 1)) fail("the mask of a warp operation lacks the calling lane", where);
  Meeting& meeting = join(me, mask, op, where);
  char* sync = meeting.sync;
  tsan_release(sync);
  me.where = where, me.source = source, me.slot = slot, me.state = State::in_warp_operation;
  meeting.arrived |= 1u << me.lane();
  if (predicate) meeting.ballot |= 1u << me.lane();
  if (meeting.arrived != mask) {
    yield();
  } else {
    conclude(warps_[me.warp()], meeting, first_thread, lanes);
    if (random_.coin()) yield();  // the last to come goes on first, or some other
  }
  tsan_acquire(sync);
  ++me.warp_operations;
  slot = me.slot;
  return me.ballot;
}

void Block::fail(const std::string& what, Where where) {
  faults_.report(what + " (thread " + text(current_->index) + " at " + text(where) + ")");
  current_->fiber.switch_to(scheduler_, true);
  __builtin_unreachable();
}

}  // namespace simt
