// What the kernels do to memory, access by access, counted while the emulator runs them.
//
// Kernels are compiled with -fsanitize=thread, which puts a call before every access. Those functions are here, in
// place of the sanitizer's library: they gather what the 32 lanes of a warp access at one place in the code into one
// warp access, as the device would, and count the passes through shared memory and the sectors of global memory that it
// takes.
//
// Lanes meet at the k-th time that each of them comes by a place between two barriers, or two operations of the warp
// such as __syncwarp(). That is what the device does unless lanes take different numbers of turns through a loop.
//
// No kernel here lets data decide where it reads or writes, so buffers need no contents: they are addresses, with
// memory only where a kernel touches them. That makes room for any size of tensor, of which only some blocks are run.
//
// Blocks that wait for one another run one by one too. A counter that they load says that all have arrived, and so does
// the barrier of a cluster. What they write to the blocks of their cluster goes nowhere, and is counted.
#include "trace.hpp"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <stdexcept>
#include <unordered_map>

#include "../simt/block.hpp"
#include "../simt/guarded.hpp"
#include "../simt/symbols.hpp"
#include "warp_access.hpp"

namespace {

using namespace trace;

// --- memory ---------------------------------------------------------------------------------------------------------

constexpr size_t kArenaBytes = size_t(1) << 38;
constexpr int64_t kAlignment = 256;

// Addresses whose memory is there, and zero, once it is touched.
void* reserve(size_t bytes) {
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::runtime_error("no address space for the buffers of a traced call");
  return base;
}

// Global memory: addresses for the buffers of a call, parameters before all others.
struct Arena {
  static constexpr size_t kParameters = size_t(1) << 32;
  char* begin = nullptr;
  size_t parameters = 0, tensors = kParameters;

  void clear() {
    if (!begin) begin = static_cast<char*>(reserve(kArenaBytes));
    madvise(begin, kArenaBytes, MADV_DONTNEED);
    parameters = 0, tensors = kParameters;
  }
  char* take(bool parameter, int64_t bytes, int64_t shift) {
    size_t& used = parameter ? parameters : tensors;
    char* const at = begin + used + shift;
    used += size_t((shift + bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment);
    if (parameters > kParameters || tensors > kArenaBytes)
      throw std::runtime_error("the buffers of a traced call are too large");
    return at;
  }
  size_t offset(const void* address) const { return uintptr_t(address) - uintptr_t(begin); }
  bool holds(const void* address) const { return offset(address) < kArenaBytes; }
};
Arena arena;

// The library's thread-local storage is shared memory, see simt.hpp. It is there once a block has begun.
struct SharedRange {
  uintptr_t begin = 0, bytes = 0;
};
SharedRange shared_range;

int find_shared_range(dl_phdr_info* library, size_t, void*) {
  const auto here = reinterpret_cast<uintptr_t>(&find_shared_range);
  bool found = false;
  size_t bytes = 0;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const auto& segment = library->dlpi_phdr[i];
    found |= segment.p_type == PT_LOAD && here - library->dlpi_addr - segment.p_vaddr < segment.p_memsz;
    if (segment.p_type == PT_TLS) bytes = segment.p_memsz;
  }
  if (found) shared_range = {reinterpret_cast<uintptr_t>(library->dlpi_tls_data), bytes};
  return found;
}

// What stands for the shared memory of the blocks of a cluster.
constexpr size_t kMostClusterBlocks = 16;
char* remote_begin = nullptr;

bool is_remote(const void* address) {
  return remote_begin && uintptr_t(address) - uintptr_t(remote_begin) < kMostClusterBlocks * shared_range.bytes;
}

// --- footprints -----------------------------------------------------------------------------------------------------

// Bytes of global memory that an owner touches, each once. Owners come one after another and have numbers of their own.
class Footprint {
 public:
  // How many of the bytes are new to the owner.
  int64_t add(size_t offset, unsigned bytes, uint32_t owner) {
    if (!sectors_) sectors_ = static_cast<Sector*>(reserve(kArenaBytes / kSector * sizeof(Sector)));
    int64_t fresh = 0;
    for (size_t at = offset; at < offset + bytes; ++at) {
      Sector& s = sectors_[at / kSector];
      if (s.owner != owner) s = {owner, 0};
      const uint32_t bit = 1u << at % kSector;
      fresh += !(s.touched & bit);
      s.touched |= bit;
    }
    return fresh;
  }

 private:
  struct Sector {
    uint32_t owner, touched;
  };
  Sector* sectors_ = nullptr;  // of the whole arena
};
Footprint read_footprint, written_footprint;
uint32_t owners = 0;  // that there have been

// --- a launch -------------------------------------------------------------------------------------------------------

struct Counted {
  LaunchCount launch{};
  std::vector<SiteCount> sites;
  std::unordered_map<uint64_t, size_t> site_of;  // by place in the code and part of a wide access
};
std::vector<Counted>& counted = *new std::vector<Counted>;
int64_t most_blocks = 0;

// What a warp has accessed at a site, and where in it begins what came after the last operation of the warp.
struct WarpSite {
  std::vector<WarpAccess> accesses;
  unsigned warp_operations = 0;
  size_t first = 0;
};
// How often a lane has come by each site since the last operation of its warp.
struct LaneTimes {
  std::vector<unsigned> at;
  unsigned warp_operations = 0;
};

// The grid that is running, and what its current block has accessed since the last barrier.
struct Grid {
  void (*kernel)(void*) = nullptr;
  void* arguments = nullptr;
  dim3 size;
  unsigned threads = 0;
  uint64_t entered = 0;                 // threads of all blocks so far
  uint32_t owner = 0, block_owner = 0;  // of what the launch and the block touch
  unsigned barriers = 0;
  std::vector<std::vector<WarpSite>> open;  // warp, site
  std::vector<LaneTimes> times;             // thread
};
Grid grid;

void count_open() {
  Counted& now = counted.back();
  for (auto& warp : grid.open)
    for (size_t s = 0; s < warp.size(); ++s) {
      SiteCount& site = now.sites[s];
      for (const WarpAccess& access : warp[s].accesses) {
        ++site.requests;
        site.accesses += __builtin_popcount(access.mask);
        if (!site.shared) {
          site.passes += sectors_of(access, unsigned(site.width));
          continue;
        }
        const Cost cost = shared_cost(access, unsigned(site.width));
        site.passes += cost.passes;
        site.fewest += cost.fewest;
        site.worst = std::max<int64_t>(site.worst, cost.worst);
      }
      warp[s] = {};
    }
  for (LaneTimes& lane : grid.times) lane = {};
}

constexpr unsigned kMostParts = 256;  // of 16 bytes

enum class Space { shared, parameter, tensor };

size_t site_number(const void* place, unsigned part, unsigned width, Space space, bool store) {
  Counted& now = counted.back();
  const uint64_t key = (uint64_t(place) * kMostParts + part) * 4 + uint64_t(space);
  const auto [found, is_new] = now.site_of.try_emplace(key, now.sites.size());
  if (is_new)
    now.sites.push_back({.launch = int64_t(counted.size()) - 1,
                         .place = reinterpret_cast<int64_t>(place),
                         .part = part,
                         .width = width,
                         .shared = space == Space::shared,
                         .parameter = space == Space::parameter,
                         .store = store});
  return found->second;
}

// What the lanes of the thread's warp access together at the site, this time.
WarpAccess& same_time(const simt::Thread& thread, size_t site) {
  LaneTimes& lane = grid.times[thread.number];
  auto& sites = grid.open[thread.warp()];
  if (lane.warp_operations != thread.warp_operations) {
    std::fill(lane.at.begin(), lane.at.end(), 0);
    lane.warp_operations = thread.warp_operations;
  }
  if (lane.at.size() <= site) lane.at.resize(site + 1);
  if (sites.size() <= site) sites.resize(site + 1);
  WarpSite& warp = sites[site];
  if (warp.warp_operations < thread.warp_operations) {
    warp.first = warp.accesses.size();
    warp.warp_operations = thread.warp_operations;
  }
  const size_t time = warp.first + lane.at[site]++;
  if (warp.accesses.size() <= time) warp.accesses.resize(time + 1);
  return warp.accesses[time];
}

void record(const void* place, const void* address, unsigned width, unsigned part, bool store) {
  if (is_remote(address)) {
    counted.back().launch.remote_bytes += width;
    return;
  }
  const bool shared = uintptr_t(address) - shared_range.begin < shared_range.bytes;
  if (!shared && !arena.holds(address)) return;  // variables of a thread, arguments of the kernel
  const size_t offset = arena.offset(address);
  const bool parameter = !shared && offset < Arena::kParameters;
  const simt::Thread& thread = simt::running->current();
  if (thread.barriers > grid.barriers) {  // so all threads have come to that barrier
    count_open();
    grid.barriers = thread.barriers;
  }
  const Space space = shared ? Space::shared : parameter ? Space::parameter : Space::tensor;
  const size_t site = site_number(place, part, width, space, store);
  WarpAccess& access = same_time(thread, site);
  access.mask |= 1u << thread.lane();
  access.address[thread.lane()] = uintptr_t(address);
  if (shared) return;
  LaunchCount& launch = counted.back().launch;
  const int64_t fresh =
      (store ? written_footprint : read_footprint).add(offset, width, parameter ? grid.owner : grid.block_owner);
  (parameter ? launch.parameter_bytes : store ? launch.written_bytes : launch.read_bytes) += fresh;
}

void record_range(const void* place, const void* address, size_t bytes, bool store) {
  if (!simt::running) return;
  constexpr size_t kWidest = 16;
  unsigned part = 0;
  for (size_t at = 0; at < bytes; at += kWidest)
    record(place, static_cast<const char*>(address) + at, unsigned(std::min(kWidest, bytes - at)), part++, store);
}

// The block that runs in place of block i of the shortened grid: all of them, or some evenly spread.
void enter_block() {
  if (grid.entered++ % grid.threads) return;
  if (!shared_range.begin) dl_iterate_phdr(find_shared_range, nullptr);
  count_open();
  grid.barriers = 0;
  grid.block_owner = ++owners;
  gridDim = grid.size;
  const LaunchCount& launch = counted.back().launch;
  if (launch.blocks_run == launch.blocks) return;
  blockIdx.x = unsigned((2 * int64_t(blockIdx.x) + 1) * launch.blocks / (2 * launch.blocks_run));
}

void run_thread(void*) {
  enter_block();
  grid.kernel(grid.arguments);
}

}  // namespace

namespace simt {

// What kernels are launched by, in place of run_grid.
cudaError_t traced_run_grid(const cudaLaunchConfig_t& config, const void* kernel, void (*run)(void*), void* arguments) {
  const dim3 g = config.gridDim, b = config.blockDim;
  const bool is_flat = g.y == 1 && g.z == 1;
  Counted& now = counted.emplace_back();
  LaunchCount& launch = now.launch;
  kernel_name(kernel).copy(launch.kernel, sizeof(launch.kernel) - 1);
  launch.blocks = int64_t(g.x) * g.y * g.z;
  launch.blocks_run = most_blocks > 0 && is_flat ? std::min(most_blocks, launch.blocks) : launch.blocks;
  launch.threads = int64_t(b.x) * b.y * b.z;
  const bool clustered = config.numAttrs && config.attrs->id == cudaLaunchAttributeClusterDimension;
  launch.cluster = clustered ? config.attrs->val.clusterDim.x : 1;
  launch.shared_bytes = int64_t(config.dynamicSmemBytes);
  launch.static_shared_bytes = int64_t(static_shared_bytes(kernel));

  const auto threads = unsigned(launch.threads);
  grid = {.kernel = run, .arguments = arguments, .size = g, .threads = threads, .owner = ++owners};
  grid.open.resize((threads + kWarp - 1) / kWarp);
  grid.times.resize(threads);
  cudaLaunchConfig_t shortened = config;
  if (is_flat) shortened.gridDim.x = unsigned(launch.blocks_run);
  shortened.numAttrs = 0;  // no block waits
  const cudaError_t error = run_grid(shortened, kernel, run_thread, nullptr);
  count_open();
  return error;
}

// What kernels meet their cluster by, in place of the emulator's functions of these names.
void traced_cluster_arrive(bool, Where) {
  if (running->current().number == 0) ++counted.back().launch.arrivals;
}
void traced_cluster_wait(Where where) { barrier(where); }
void* traced_map_shared(const void* address, unsigned rank, Where) {
  if (!remote_begin) remote_begin = static_cast<char*>(reserve(kMostClusterBlocks * shared_range.bytes));
  return remote_begin + rank * shared_range.bytes + (uintptr_t(address) - shared_range.begin);
}

GuardedBuffer::GuardedBuffer(const Buffer& buffer, int64_t shift, bool) : buffer_(buffer) {
  if (buffer.kind == Kind::absent) return;
  const std::string name = buffer.name;
  const bool parameter = buffer.kind == Kind::input && (name.starts_with("weight") || name.starts_with("bias"));
  data_ = reinterpret_cast<unsigned char*>(arena.take(parameter, buffer.bytes, shift));
}
GuardedBuffer::~GuardedBuffer() {}
std::string GuardedBuffer::check() { return ""; }
void GuardedBuffer::copy_out() {}

}  // namespace simt

extern "C" {

// Begins a count. Of each grid at most so many blocks are run; 0: all of them.
void trace_begin(int64_t blocks) {
  counted.clear();
  arena.clear();
  most_blocks = blocks;
}

int64_t trace_launches(LaunchCount* launches, int64_t most) {
  for (int64_t i = 0; i < std::min(most, int64_t(counted.size())); ++i) launches[i] = counted[size_t(i)].launch;
  return int64_t(counted.size());
}

// Places are given as offsets in the library.
int64_t trace_sites(SiteCount* sites, int64_t most) {
  Dl_info library{};
  dladdr(reinterpret_cast<const void*>(&trace_sites), &library);
  int64_t count = 0;
  for (const Counted& launch : counted)
    for (const SiteCount& site : launch.sites) {
      if (count < most) {
        sites[count] = site;
        sites[count].place -= reinterpret_cast<int64_t>(library.dli_fbase);
      }
      ++count;
    }
  return count;
}

// The compiler's calls.
#define TRACE_ACCESS(name, bytes, store) \
  void __tsan_##name(void* address) { record_range(__builtin_return_address(0), address, bytes, store); }
TRACE_ACCESS(read1, 1, false)
TRACE_ACCESS(read2, 2, false)
TRACE_ACCESS(read4, 4, false)
TRACE_ACCESS(read8, 8, false)
TRACE_ACCESS(read16, 16, false)
TRACE_ACCESS(write1, 1, true)
TRACE_ACCESS(write2, 2, true)
TRACE_ACCESS(write4, 4, true)
TRACE_ACCESS(write8, 8, true)
TRACE_ACCESS(write16, 16, true)
void __tsan_read_range(void* address, size_t bytes) {
  record_range(__builtin_return_address(0), address, bytes, false);
}
void __tsan_write_range(void* address, size_t bytes) {
  record_range(__builtin_return_address(0), address, bytes, true);
}
uint64_t __tsan_atomic64_fetch_add(volatile uint64_t*, uint64_t, int) {
  ++counted.back().launch.arrivals;
  return 0;
}
uint64_t __tsan_atomic64_load(const volatile uint64_t*, int) { return UINT64_MAX; }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

}  // extern "C"
