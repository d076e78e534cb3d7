// Shared by all launch plans: device limits, occupancy, sizes. This is plain C++ without CUDA headers, and has its own
// tests.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../../arena.h"
#include "../api.h"

namespace lite_rtse::cuda {

// One device for each compute capability that the kernels are built for: T4, A100, RTX 3090, RTX 4090, H100 SXM, B200,
// RTX 5090. The source of the limits is the CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability". The source of the multiprocessor counts is the products' data sheets.
inline constexpr Device kDevices[] = {
    {75, 40, 64 << 10, 64 << 10, 65536, 1024, 16},    {80, 108, 163 << 10, 164 << 10, 65536, 2048, 32},
    {86, 82, 99 << 10, 100 << 10, 65536, 1536, 16},   {89, 128, 99 << 10, 100 << 10, 65536, 1536, 24},
    {90, 132, 227 << 10, 228 << 10, 65536, 2048, 32}, {100, 148, 227 << 10, 228 << 10, 65536, 2048, 32},
    {120, 170, 99 << 10, 100 << 10, 65536, 1536, 24},
};

inline constexpr int kWarp = 32;
inline constexpr int64_t kMaxBlocks = 0x7fffffff;  // the limit of gridDim.x; these grids use no other dimension

LITE_RTSE_SHARED_CODE constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
LITE_RTSE_SHARED_CODE constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

constexpr int64_t element_size(DType dtype) { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }
// The element size of the compute type of a dtype: half types are computed in float32.
constexpr int64_t compute_size(DType dtype) { return dtype == DType::f64 ? 8 : 4; }

// The grid, block and dynamic shared memory of one kernel launch.
struct Geometry {
  int64_t blocks = 0;
  int threads = 0;
  int64_t shared_bytes = 0;
  int64_t cluster = 1;  // neighboring blocks that the device runs at the same time
};

// The number of a kernel's blocks that one multiprocessor holds at a time; 0 if it cannot run the kernel at all. Shared
// memory is allocated in units of 128 bytes. From compute capability 8.0 on each block also needs 1 KB for the system.
// Registers are allocated in units of 256 per warp. Each of the four partitions of a multiprocessor has a quarter of
// the registers.
constexpr int blocks_per_multiprocessor(const Device& d, int threads, int64_t shared_bytes, int registers_per_thread) {
  if (threads < 1 || threads > 1024 || shared_bytes > d.shared_per_block) return 0;
  const int64_t warps = ceil_div(threads, kWarp);
  const int64_t shared = round_up(shared_bytes + (d.sm >= 80 ? 1024 : 0), 128);
  const int64_t registers_per_warp = round_up(int64_t(registers_per_thread) * kWarp, 256);
  int64_t blocks = std::min<int64_t>(d.blocks_per_sm, d.threads_per_sm / (warps * kWarp));
  if (shared > 0) blocks = std::min(blocks, d.shared_per_sm / shared);
  if (registers_per_warp > 0) blocks = std::min(blocks, 4 * (d.registers_per_sm / 4 / registers_per_warp) / warps);
  return int(blocks);
}

using WorkspaceArena = ArenaOf<256>;

}  // namespace lite_rtse::cuda
