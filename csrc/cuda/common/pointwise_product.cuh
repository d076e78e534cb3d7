// The product of a 32 x 32 block of weights and a warp's 32 points of a tile, in two ways with the same functions: on
// the CUDA cores in the compute type, and on tensor cores in a half type.
//
//   Number                            what shared memory consists of
//   kTileSize, kWeightsSize           the Numbers of a tile and of a block of weights
//   stage(to, weight, ...)            the block's threads fill a block of weights, as in stage_weights
//   store(next, tile)                 a thread puts its part of a tile there
//   Sum, add(sum, w, tile, n)         what a lane has of a product, and the sum over n more sources
//   four(sum, i), i < 8               the lane's numbers: four neighboring points of one target
//   target(o0, i), point(first, i)    which these are, counted from the product's first
#pragma once

#include "mma.cuh"
#include "pointwise.h"
#include "tile.cuh"

namespace lite_rtse::cuda {

// The first point of a tile that the thread's warp computes.
__device__ __forceinline__ int warp_point() { return int(threadIdx.x) / kWarp * kTile; }

template <class C>
class CoreProduct {
  static constexpr int kPitch = channel_pitch(kPointwisePoints);

 public:
  using Number = C;
  static constexpr int kTileSize = kTile * kPitch, kWeightsSize = kWeightBlock;
  struct Sum {
    C at[1][8][4];
  };

  template <class T>
  static __device__ __forceinline__ void stage(C* to, const T* weight, int64_t target_stride, int64_t source_stride,
                                               int64_t targets, int64_t sources) {
    stage_weights(to, weight, target_stride, source_stride, targets, sources);
  }

  template <class T>
  static __device__ __forceinline__ void store(const HeldPoints<kPointwisePoints, kPointwiseThreads, T>& next,
                                               C* tile) {
    next.store(tile);
  }

  static __device__ __forceinline__ void add(Sum& sum, const C* weights, const C* tile, int sources) {
    accumulate_product(sum.at, weights, tile + warp_point(), kPitch, 0, sources, lane_place());
  }

  static __device__ __forceinline__ int64_t target(int64_t o0, int i) { return o0 + lane_place().row + 4 * i; }
  static __device__ __forceinline__ int64_t point(int64_t first, int) {
    return first + warp_point() + lane_place().quad * 4;
  }
  static __device__ __forceinline__ Pack<C, 4> four(const Sum& sum, int i) {
    Pack<C, 4> value;
#pragma unroll
    for (int j = 0; j < 4; ++j) value.at[j] = sum.at[0][i][j];
    return value;
  }
};

// Here a Number is the pair of sources 16 s + j and 16 s + j + 8, j < 8, which is in row 8 s + j of a tile. A thread
// has both of them when it stores its part. The sources may be summed in any order, so row 8 s + j takes the places 2 j
// and 2 j + 1 of the sum.
//
// Column n of the products i < 4 is point 16 (n % 2) + 4 (n / 2) + i. So a lane reads the points of all four at a time,
// and has four neighbors of the result. Weights are in the order of the lanes. No access to them or to points has bank
// conflicts, except when a tile is stored.
template <class T>
class TensorProduct {
  static constexpr int kRows = kTile / 2, kPitch = kPointwisePoints + 4, kSteps = 2;

 public:
  using Number = unsigned;
  static constexpr int kTileSize = kRows * kPitch, kWeightsSize = kTile * kRows;
  // The plan counts with numbers of the compute type, since a device may run what was compiled for older ones.
  static_assert(kTileSize <= CoreProduct<float>::kTileSize && kWeightsSize <= CoreProduct<float>::kWeightsSize);
  struct Sum {
    float at[2][4][4];  // 16 targets; every fourth point; d
  };

  // The threads of a warp read eight sources of four targets, and write to different banks.
  static __device__ __forceinline__ void stage(unsigned* to, const T* weight, int64_t target_stride,
                                               int64_t source_stride, int64_t targets, int64_t sources) {
    for (int i = int(threadIdx.x); i < kWeightsSize; i += int(blockDim.x)) {
      const int lane = i % kWarp, round = i / kWarp, j = lane % 8;
      const int target = lane / 8 % 2 + round % 4 * 2 + lane / 16 * 8 + round / 4 % 2 * 16, step = round / 8;
      const auto at = [&](int source) {
        const bool exists = target < targets && source < sources;
        return exists ? weight[target * target_stride + source * source_stride] : T{};
      };
      to[word(target, step, j)] = fragment_word(at(16 * step + j), at(16 * step + j + 8));
    }
  }

  static __device__ __forceinline__ void store(const HeldPoints<kPointwisePoints, kPointwiseThreads, T>& next,
                                               unsigned* tile) {
    using Held = HeldPoints<kPointwisePoints, kPointwiseThreads, T>;
    static_assert(Held::kRows == 1 && Held::kWideRows == 8 && Held::kWide == 8);
    constexpr int kPacks = kPointwisePoints / Held::kWide;
    // With wide accesses a thread has eight points of a row of each step; else one point of all rows.
    tile += next.wide ? int(threadIdx.x) / kPacks * kPitch + int(threadIdx.x) % kPacks * Held::kWide : int(threadIdx.x);
#pragma unroll
    for (int s = 0; s < kSteps; ++s, tile += 8 * kPitch) {
      Pack<unsigned, 8> pairs;
#pragma unroll
      for (int i = 0; i < 8; ++i) pairs.at[i] = fragment_word(next.at[16 * s + i], next.at[16 * s + 8 + i]);
      if (next.wide) {
        store_pack<8>(tile, pairs);
      } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) tile[i * kPitch] = pairs.at[i];
      }
    }
  }

  static __device__ __forceinline__ void add(Sum& sum, const unsigned* weights, const unsigned* tile, int sources) {
    weights += word(group(), 0, member());
    tile += member() * kPitch + warp_point() + group() % 2 * 16 + group() / 2 * 4;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      if (16 * s >= sources) break;
      const auto low = load_pack<4>(tile + 8 * s * kPitch), high = load_pack<4>(tile + (8 * s + 4) * kPitch);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const auto w = load_pack<4>(weights + word(16 * m, s, 0));
#pragma unroll
        for (int i = 0; i < 4; ++i) multiply_fragments<T>(sum.at[m][i], w.at, {low.at[i], high.at[i]}, sum.at[m][i]);
      }
    }
  }

  // i / 2 counts the rows of d, and i % 2 its columns.
  static __device__ __forceinline__ int64_t target(int64_t o0, int i) { return o0 + group() + 8 * (i / 2); }
  static __device__ __forceinline__ int64_t point(int64_t first, int i) {
    return first + warp_point() + 4 * member() + 16 * (i % 2);
  }
  static __device__ __forceinline__ Pack<float, 4> four(const Sum& sum, int i) {
    Pack<float, 4> value;
#pragma unroll
    for (int j = 0; j < 4; ++j) value.at[j] = sum.at[i / 4][j][i % 4];
    return value;
  }

 private:
  // The place of pair j of a step in a block of weights: 16 targets of a step are together. Each lane's words are
  // neighbors, in the order of a[0] to a[3].
  static __device__ __forceinline__ int word(int target, int step, int j) {
    const int lane = target % 8 * 4 + j % 4, register_of_lane = target / 8 % 2 + j / 4 * 2;
    return ((target / 16 * kSteps + step) * kWarp + lane) * 4 + register_of_lane;
  }

  // g and t of mma.cuh
  static __device__ __forceinline__ int group() { return int(threadIdx.x) % kWarp / 4; }
  static __device__ __forceinline__ int member() { return int(threadIdx.x) % 4; }
};

// Products of two half-typed numbers are exact in float32. So tensor cores lose nothing where both factors are stored
// in one half type. Where a factor is in float32, which half types cannot hold, the CUDA cores compute.
template <class X, class W, class Y>
using PointwiseProduct = std::conditional_t<kTensorCores && sizeof(X) == 2 && std::is_same_v<X, W>, TensorProduct<X>,
                                            CoreProduct<Compute<Y>>>;

}  // namespace lite_rtse::cuda
