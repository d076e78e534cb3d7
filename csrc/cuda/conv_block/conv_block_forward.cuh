// The Conv-Block's forward pass in one kernel.
//
// In each chunk, a warp loads its row of x and computes in(x), which goes into the ring of h. It also computes skip(x),
// which stays in registers. Then it computes dw from three rows of the ring, and stores it in the place of x. Then it
// computes out. The product goes to y through the same place, so that global memory is written row by row. Each warp
// has its own rows and shares only the ring, so a chunk has two barriers.
//
// For 32 → 32, a lane executes 3072 multiply-adds of a row in products, with five accesses of 128 bits for 64 of them,
// and 288 in dw. Shared memory is busy for 700 cycles per row; the multiply-adds take 840 cycles on 128 lanes.
#pragma once

#include "conv_block_tile.cuh"

namespace lite_rtse::cuda {

template <class T>
struct ConvBlockForward {
  ConvBlockMarch march;
  const T *x, *weight[ConvBlockArgs::kParams], *bias[ConvBlockArgs::kParams];
  T* y;
};

// Writes h = in(x) of one row to the ring. Outside the plane it is zero, never the bias.
template <class C>
__device__ __forceinline__ void put_hidden(C* ring_row, int pitch, C (&h)[8][4], const C* bias, unsigned columns,
                                           int channels, LanePlace lane) {
  const Pack<C, 8> b = lane_vector(bias, lane);
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) h[i][j] = columns >> j & 1 ? h[i][j] + b.at[i] : C(0);
  put_row(ring_row, pitch, h, channels, lane);
}

// Matrices and biases of the three 1x1 convolutions; taps and bias of dw.
template <class C, class T, class Layout>
__device__ void stage_forward(C* shared, const Layout& at, const ConvBlockMarch& m,
                              const T* const (&weight)[ConvBlockArgs::kParams],
                              const T* const (&bias)[ConvBlockArgs::kParams]) {
  stage_matrix(shared + at.in, weight[ConvBlockArgs::kIn], m.sources, 1, m.channels, m.sources);
  stage_matrix(shared + at.skip, weight[ConvBlockArgs::kSkip], m.sources, 1, m.channels, m.sources);
  stage_matrix(shared + at.out, weight[ConvBlockArgs::kOut], m.channels, 1, m.channels, m.channels);
  stage_vector(shared + at.b_in(), bias[ConvBlockArgs::kIn], m.channels);
  stage_vector(shared + at.b_out(), bias[ConvBlockArgs::kOut], m.channels);
  stage_vector(shared + at.b_skip(), bias[ConvBlockArgs::kSkip], m.channels);
  stage_taps(shared + at.taps, weight[ConvBlockArgs::kDw], bias[ConvBlockArgs::kDw], false, m.channels);
}

template <class T>
__global__ void __launch_bounds__(kConvMostRows* kWarp, 2)
    conv_block_forward(const __grid_constant__ ConvBlockForward<T> a) {
  using C = Compute<T>;
  const ConvBlockMarch& m = a.march;
  const ConvBlockForwardShared at(m.sources, m.channels, m.rows);
  const ConvPlace p = conv_place(m);
  const LanePlace lane = lane_place();
  const int warp = threadIdx.x / kWarp, channel = threadIdx.x % kWarp;
  const int pitch = conv_pitch(m.rows), ring_pitch = conv_pitch(m.rows + kConvLookBack);
  const int64_t plane = m.frames * m.bins;
  C* const shared = dynamic_shared<C>();
  C* const row = shared + at.tile + warp * kConvColumns;
  C* const h = shared + at.ring;

  stage_forward(shared, at, m, a.weight, a.bias);
  const unsigned columns = existing_columns(m, p, lane.quad);
  __syncthreads();

  ConvRing ring(m.rows);
  for (int64_t t = p.begin - m.rows; t < p.end; t += m.rows) {
    const int64_t frame = t + warp;
    const bool own = frame >= p.begin && frame < p.end;
    C sum[2][8][4];  // of in and of skip
    if (frame >= p.begin - kConvLookBack && frame < p.end) {
      const bool exists = frame >= 0;
      load_row(row, pitch, a.x + conv_offset(m, p, m.sources, frame), plane, m.sources, p.exists && exists);
      __syncwarp();
      row_products(sum, {shared + at.in, shared + at.skip}, row, pitch, m.sources, lane);
      put_hidden(h + ring.at(kConvLookBack + warp), ring_pitch, sum[0], shared + at.b_in(), exists ? columns : 0,
                 m.channels, lane);
    }
    __syncthreads();
    if (own && channel < m.channels) {
      const C* const from = h + channel * ring_pitch;
      convolve_row({from + ring.at(warp), from + ring.at(warp + 1), from + ring.at(warp + 2)},
                   shared + at.taps + channel,
                   [&](int q, const Pack<C, 4>& u) { store_pack<4>(row + channel * pitch + 4 * q, u); });
    }
    ring.advance();
    __syncthreads();
    if (!own) continue;
    C v[1][8][4];
    row_products(v, {shared + at.out}, row, pitch, m.channels, lane);
    const Pack<C, 8> b_out = lane_vector(shared + at.b_out(), lane);
    const Pack<C, 8> b_skip = lane_vector(shared + at.b_skip(), lane);
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) v[0][i][j] = (v[0][i][j] + b_out.at[i]) * (sum[1][i][j] + b_skip.at[i]);
    __syncwarp();
    put_row(row, pitch, v[0], m.channels, lane);
    __syncwarp();
    store_row(a.y + conv_offset(m, p, m.channels, frame), plane, row, pitch, m.channels, p.own);
  }
}

}  // namespace lite_rtse::cuda
