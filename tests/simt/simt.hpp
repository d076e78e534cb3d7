// A CUDA emulator: lets g++ build CUDA sources unchanged and runs their kernels on the CPU, one fiber per CUDA thread.
//
// This file is what kernels see: qualifiers, built-in variables, barriers, warp operations, atomics, launches. The
// scheduler behind it (simt.cpp) is strict where a device would be silent: it takes threads in an adversarial order
// drawn from a seed, fills shared memory with NaN before each block, and reports what CUDA leaves undefined or refuses:
//
//   a barrier that some threads of the block never reach, or, if it has no name, reach at another line
//   a warp operation that waits for lanes which do something else, or do it at another line
//   mma in a warp that is not full
//   a launch outside the limits of the device that is emulated, or on another stream than the caller's
//
// Threads that have exited count as missing. CUDA goes on without them from compute capability 7.0 on, but a kernel
// that lets some return before the others meet has mostly forgotten something.
//
// Link kernels and emulator into one shared library or program. Missing barriers give wrong values under some seed, and
// a data race under ThreadSanitizer. Accesses out of bounds are found by AddressSanitizer and
// UndefinedBehaviorSanitizer.
//
// Dynamic shared memory has to be declared `extern __shared__ … unsigned char name[];` in a named namespace, and that
// namespace defines it for the emulator by SIMT_DEFINE_DYNAMIC_SHARED(name). Launch by cudaLaunchKernelEx.
//
// The blocks of a cooperative launch run by turns, also drawn from the seed. There may be one on each multiprocessor.
// They may wait for one another by counters: cuda::atomic_ref. A counter that nobody changes any more is reported.
//
// The blocks of a cluster run by turns too, and only one cluster at a time: clusters that wait for one another never
// end. Reported are a thread that arrives twice or waits without having arrived, a barrier that some threads never
// reach, and the shared memory of a block that has not begun or has exited.
//
// Of mma there is m16n8k16 with half types and sums in float32 (mma.cpp), under a name that only kernels built for the
// emulator know.
//
// Not emulated: cp.async, other mma, TMA, the library cooperative groups, mbarriers, textures, the timing of anything.
// Registers and __launch_bounds__ are not known here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "math.hpp"
#include "mma.hpp"
#include "types.hpp"

#undef __global__  // the toolkit's headers define these for a host compiler
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#undef __align__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
// A thread_local array in a function is static, and one that is `extern` may have an unknown bound: one word serves
// both static and dynamic shared memory. All fibers of a block run on the same thread of the host.
#define __shared__ thread_local

#define SIMT_DEFINE_DYNAMIC_SHARED(name)                                         \
  alignas(1024) thread_local unsigned char name[::simt::kDynamicSharedCapacity]; \
  static const bool simt_registered_##name = ::simt::register_dynamic_shared([]() -> void* { return name; });

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace simt {

inline constexpr size_t kDynamicSharedCapacity = 256 << 10;

// Of the device that is emulated.
struct Limits {
  unsigned threads_per_block = 1024;
  size_t shared_per_block = 48 << 10;  // without opting in by cudaFuncSetAttribute
  size_t shared_opt_in = 99 << 10;
  unsigned multiprocessors = 82;  // a cooperative launch may have a block on each
  unsigned cluster_blocks = 1;    // at most; 8 from compute capability 9.0 on
};

struct Options {
  uint64_t seed = 0;
  cudaStream_t stream = nullptr;  // on which everything must be enqueued
  bool execute = true;            // false: launches are checked and recorded, kernels do not run
};

struct Launch {
  const void* kernel;
  dim3 grid, block;
  size_t shared_bytes;  // dynamic
  size_t static_shared_bytes;
  unsigned cluster = 1;  // blocks of one
};

// Starts afresh: limits and options from now on, no launches recorded, no error, no kernel opted in.
void configure(const Limits&, const Options&);
const std::vector<Launch>& launches();
// What went wrong first since `configure`, with kernel, block, thread and line; empty if nothing did.
const std::string& report();

// A line of a kernel's source. As a default argument, `current()` is where the function is called. (The standard's
// source_location does not exist for Clang with the library of g++ 12.)
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

bool register_dynamic_shared(void* (*address)());

cudaError_t run_grid(const cudaLaunchConfig_t&, const void* kernel, void (*run)(void*), void* arguments);
cudaError_t set_attribute(const void* kernel, cudaFuncAttribute, int value);

void barrier(Where);
// With a number and a count of threads, which has to be the whole block here.
void named_barrier(unsigned id, unsigned count, Where);
void poll(Where);      // before a load that may be one of many: lets other threads and other blocks go on
void note_progress();  // of something that others may wait for
void cluster_arrive(bool release, Where);
void cluster_wait(Where);
unsigned cluster_rank();
void* map_shared(const void* address, unsigned rank, Where);  // the same variable of another block of the cluster
void maybe_yield();                                           // lets other threads go on here, at random
[[noreturn]] void fail(const std::string& what, Where);
unsigned lane();

// What a lane hands over in a warp operation.
struct alignas(8) Slot {
  unsigned char bytes[8];
};
enum class WarpOp : uint8_t { sync, shuffle, vote, mma_f16, mma_bf16 };
// Waits for all lanes of `mask`. Of a shuffle, `value` becomes that of lane `source`. For mma it has the address of a
// lane's fragments. The ballot of the predicates is returned.
unsigned warp_operation(WarpOp, unsigned mask, int source, Slot& value, bool predicate, Where);

// What CUDA shuffles: numbers of 4 or 8 bytes, half types and pairs of them.
template <class T>
concept Shuffled = (std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8)) ||
                   (std::is_class_v<T> && std::is_trivially_copyable_v<T> && sizeof(T) <= 4);

// The first lane of the calling lane's segment of `width` lanes.
inline int segment_begin(int width, Where where) {
  if (width < 1 || width > warpSize || (width & (width - 1)))
    fail("a shuffle's width is " + std::to_string(width), where);
  return int(lane()) & ~(width - 1);
}

template <Shuffled T>
T shuffle(unsigned mask, T value, int source, Where where) {
  Slot slot{};
  std::memcpy(&slot, &value, sizeof(T));
  warp_operation(WarpOp::shuffle, mask, source, slot, false, where);
  std::memcpy(&value, &slot, sizeof(T));
  return value;
}

// Relaxed, and seen as atomic by ThreadSanitizer.
template <class T, class F>
T read_modify_write(T* address, F&& combine) {
  maybe_yield();
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, T(combine(old)), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
concept AtomicInteger = std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);

}  // namespace simt

inline void __syncthreads(simt::Where where = simt::Where::current()) { simt::barrier(where); }
inline void __barrier_sync_count(unsigned id, unsigned count, simt::Where where = simt::Where::current()) {
  simt::named_barrier(id, count, where);
}

inline void __cluster_barrier_arrive(simt::Where where = simt::Where::current()) { simt::cluster_arrive(true, where); }
inline void __cluster_barrier_arrive_relaxed(simt::Where where = simt::Where::current()) {
  simt::cluster_arrive(false, where);
}
inline void __cluster_barrier_wait(simt::Where where = simt::Where::current()) { simt::cluster_wait(where); }
inline unsigned __clusterRelativeBlockRank() { return simt::cluster_rank(); }
inline void* __cluster_map_shared_rank(const void* address, unsigned rank, simt::Where where = simt::Where::current()) {
  return simt::map_shared(address, rank, where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, simt::Where where = simt::Where::current()) {
  simt::Slot none{};
  simt::warp_operation(simt::WarpOp::sync, mask, 0, none, false, where);
}
template <simt::Shuffled T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, simt::Where where = simt::Where::current()) {
  return simt::shuffle(mask, value, simt::segment_begin(width, where) + (source & (width - 1)), where);
}
template <simt::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Where where = simt::Where::current()) {
  const int64_t lane = simt::lane(), source = lane + delta, end = simt::segment_begin(width, where) + width;
  return simt::shuffle(mask, value, int(source < end ? source : lane), where);
}
template <simt::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Where where = simt::Where::current()) {
  const int64_t lane = simt::lane(), source = lane - delta;
  return simt::shuffle(mask, value, int(source >= simt::segment_begin(width, where) ? source : lane), where);
}
// Unlike the others it reaches earlier segments, though not later ones.
template <simt::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, simt::Where where = simt::Where::current()) {
  const int lane = int(simt::lane()), source = lane ^ bits, end = simt::segment_begin(width, where) + width;
  return simt::shuffle(mask, value, source < end ? source : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, simt::Where where = simt::Where::current()) {
  simt::Slot none{};
  return simt::warp_operation(simt::WarpOp::vote, mask, 0, none, predicate != 0, where);
}
inline int __any_sync(unsigned mask, int predicate, simt::Where where = simt::Where::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, simt::Where where = simt::Where::current()) {
  return __ballot_sync(mask, !predicate, where) == 0;
}

// D += A B of half types, with the lane's registers of mma.m16n8k16.
inline void __mma_m16n8k16(bool bfloat16, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                           simt::Where where = simt::Where::current()) {
  const simt::Fragments mine{d, a, b};
  const simt::Fragments* const address = &mine;
  simt::Slot slot{};
  std::memcpy(&slot, &address, sizeof(address));
  simt::warp_operation(bfloat16 ? simt::WarpOp::mma_bf16 : simt::WarpOp::mma_f16, 0xffffffffu, 0, slot, false, where);
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
void __stwb(T* address, T value) {
  *address = value;
}
inline void __threadfence() { simt::maybe_yield(); }
inline void __threadfence_block() { simt::maybe_yield(); }
[[noreturn]] inline void __trap(simt::Where where = simt::Where::current()) { simt::fail("__trap", where); }

// Integers only: sums of floats in the order of the device's scheduling would differ from run to run.
template <simt::AtomicInteger T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, [=](T old) { return old + value; });
}
template <simt::AtomicInteger T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, [=](T old) { return old < value ? value : old; });
}
template <simt::AtomicInteger T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, [=](T old) { return value < old ? value : old; });
}
template <simt::AtomicInteger T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, [=](T) { return value; });
}
template <simt::AtomicInteger T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, [=](T old) { return old == expected ? value : old; });
}

#ifndef SIMT_USE_CUDA_HEADERS  // which declare these, with the same default arguments
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaMemsetAsync(void*, int value, size_t bytes, cudaStream_t = nullptr);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t = nullptr);
#endif

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute attribute, int value) {
  return simt::set_attribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::remove_cv_t<Parameters>...> arguments;
  } call{kernel, {static_cast<Parameters>(std::forward<Arguments>(arguments))...}};
  const auto run = [](void* data) {
    const auto* call = static_cast<const Call*>(data);
    std::apply(call->kernel, call->arguments);
  };
  return simt::run_grid(*config, reinterpret_cast<const void*>(kernel), run, &call);
}
