// Sums of partial results in a fixed order, within a block and over the blocks that wrote to the workspace.
//
// A backward kernel writes its partial sums as rows of one matrix: `rows` contributions of `width` numbers each, in the
// compute type. A column belongs to one element of a parameter gradient. The matrix is summed down its columns, in an
// order that depends only on its size.
#pragma once

#include "launch.cuh"

namespace lite_rtse::cuda {

// Sums over the lanes of a warp; every lane gets the sum.
template <class C>
__device__ __forceinline__ C warp_sum(C x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// Columns [first, first + size) of the matrix are the elements of `data`. If `columns` is given, these elements form a
// matrix too, whose rows have interleaved columns. A thread that sums the columns c, c + n, c + 2 n and c + 3 n, n =
// ceil(columns / 4), then has four neighboring elements.
struct Gradient {
  int64_t first, size;
  void* data;
  int64_t columns = 0;

  LITE_RTSE_SHARED_CODE static constexpr int64_t interleaved_size(int64_t columns) { return round_up(columns, 4); }
  LITE_RTSE_SHARED_CODE constexpr int64_t column_of(int64_t element) const {
    if (columns == 0) return first + element;
    const int64_t n = ceil_div(columns, 4), c = element % columns;
    return first + element / columns * (4 * n) + c % n * 4 + c / n;
  }
};
struct Gradients {
  static constexpr int kMost = 24;
  int count = 0;
  Gradient at[kMost];
};

inline constexpr int kReduceColumns = 32, kReduceStripes = 8;

// A block sums 32 columns. Eight threads share a column; each takes every eighth row. The sums are in double precision,
// so that the error does not grow with the length of the utterances.
template <class T>
__global__ void __launch_bounds__(kReduceColumns* kReduceStripes)
    reduce_rows(const Compute<T>* __restrict__ partial, int64_t rows, int64_t width, Gradients gradients) {
  __shared__ double sums[kReduceStripes][kReduceColumns];
  const int column_in_block = threadIdx.x % kReduceColumns, stripe = threadIdx.x / kReduceColumns;
  int64_t block = blockIdx.x;
  int which = 0;
  while (block >= ceil_div(gradients.at[which].size, kReduceColumns))
    block -= ceil_div(gradients.at[which++].size, kReduceColumns);
  const int64_t element = block * kReduceColumns + column_in_block;
  const bool exists = element < gradients.at[which].size;
  double sum = 0;
  if (exists) {
    const Compute<T>* column = partial + gradients.at[which].column_of(element);
#pragma unroll 4
    for (int64_t row = stripe; row < rows; row += kReduceStripes) sum += column[row * width];
  }
  sums[stripe][column_in_block] = sum;
  __syncthreads();
  if (stripe > 0 || !exists) return;
  for (int s = 1; s < kReduceStripes; ++s) sum += sums[s][column_in_block];
  static_cast<T*>(gradients.at[which].data)[element] = from_compute<T>(Compute<T>(sum));
}

// Computes the gradients from the matrix. It skips gradients without elements or with null data.
template <class T>
cudaError_t reduce(const Compute<T>* partial, int64_t rows, int64_t width, const Gradient* gradients, int count,
                   cudaStream_t stream) {
  for (int next = 0; next < count;) {
    Gradients group;
    int64_t blocks = 0;
    for (; next < count && group.count < Gradients::kMost; ++next) {
      if (!gradients[next].data || gradients[next].size == 0) continue;
      group.at[group.count++] = gradients[next];
      blocks += ceil_div(gradients[next].size, kReduceColumns);
    }
    const cudaError_t error =
        enqueue({blocks, kReduceColumns * kReduceStripes, 0}, stream, reduce_rows<T>, partial, rows, width, group);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace lite_rtse::cuda
