// The Conv-Block's gradients in two kernels, which recompute the forward pass from x. Let h = in(x), u = dw(h), v =
// out(u), s = skip(x) and y = v s. Columns and rows are counted from a frame t on:
//
//   conv_block_gradient_out    dv = dy s, ds = dy v                       a row at a time
//                              du = W_outᵀ dv                             to the workspace
//                              dx_skip = W_skipᵀ ds                       skip's share of dx
//                              dW_out += dv ⊗ u, dW_skip += ds ⊗ x, dW_dw += du ⋆ h, biases
//   conv_block_gradient_in     dh[t] = Σ_i w_dw[2 - i] du[t + i]          a ring of du that runs ahead
//                              dx = dx_skip + W_inᵀ dh
//                              dW_in += dh ⊗ x, bias
//
// As in the forward pass, a warp has its own row and shares only the ring. Columns outside the strip's own have zeros
// in dv, ds, du and dh, so sums over a row count each bin once. A block leaves its sums in the workspace. Data that
// passes from one kernel to the other is in the compute type. For half types, dx is thus rounded once.
#pragma once

#include "conv_block_forward.cuh"

namespace lite_rtse::cuda {

template <class T>
struct ConvBlockOutGradient {
  ConvBlockMarch march;
  const T *x, *dy, *weight[ConvBlockArgs::kParams], *bias[ConvBlockArgs::kParams];
  Compute<T>*du, *dx_skip, *partial;
};

template <class T>
struct ConvBlockInGradient {
  ConvBlockMarch march;
  const T *x, *w_in, *w_dw;
  const Compute<T>*du, *dx_skip;
  T* dx;  // may be dx_skip
  Compute<T>* partial;
};

// A warp's sums of an outer product over the columns of rows, Σ a[channel] b[source], and of Σ a[channel]. A lane has 4
// x 8 of the products, as in tile.cuh. If b is narrow, the lane has all sources of its own channel. Of the sums Σ
// a[channel] it has that of its own channel.
template <class C>
struct OuterSums {
  C product[4][8] = {}, bias = 0;

  __device__ __forceinline__ void add(const C* a, int channels, const C* b, int sources, int pitch, LanePlace lane) {
    const int channel = threadIdx.x % kWarp, narrow = sources > kConvNarrow ? 0 : sources;
    if (channel < channels) {
#pragma unroll
      for (int p = 0; p < kConvColumns; p += 4) {
        const Pack<C, 4> g = load_pack<4>(a + channel * pitch + p);
        bias += (g.at[0] + g.at[1]) + (g.at[2] + g.at[3]);
#pragma unroll
        for (int s = 0; s < kConvNarrow; ++s) {
          if (s >= narrow) continue;
          const Pack<C, 4> x = load_pack<4>(b + s * pitch + p);
#pragma unroll
          for (int k = 0; k < 4; ++k) product[0][s] += g.at[k] * x.at[k];
        }
      }
    }
    C none[4];
    if (sources > kConvNarrow) accumulate_outer<false>(product, none, a, pitch, b, pitch, kConvColumns, lane);
  }

  // Calls put(channel, source, sum) and put_bias(channel, sum) for the sums that this lane holds.
  template <class Put, class PutBias>
  __device__ __forceinline__ void give(int channels, int sources, LanePlace lane, Put&& put, PutBias&& put_bias) const {
    const int own = threadIdx.x % kWarp;
    if (own < channels) put_bias(own, bias);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const bool narrow = sources <= kConvNarrow;
        const int channel = narrow ? own : lane.quad + 8 * i, source = narrow ? j : lane.row + 4 * j;
        if (channel < channels && source < sources && !(narrow && i > 0)) put(channel, source, product[i][j]);
      }
  }
};

// One target of a product with all channels of a row; lane = column.
template <class C>
__device__ __forceinline__ C narrow_product(const C* weight, const C* row, int pitch, int channels) {
  C sum = 0;
#pragma unroll 8
  for (int c = 0; c < channels; ++c) sum += weight[c] * row[c * pitch + threadIdx.x % kWarp];
  return sum;
}

// Adds the sums of the block's warps, in the order of the warps: give(add) of each warp calls add(column, value).
// `totals` overlays tiles that the block no longer needs; column i is at `totals_slot(i)`.
template <class C, class Give>
__device__ __forceinline__ void sum_warps(C* totals, int width, C* __restrict__ partial, Give&& give) {
  __syncthreads();
  for (int i = threadIdx.x; i < width; i += blockDim.x) totals[totals_slot(i)] = 0;
  __syncthreads();
  for (int w = 0; w < int(blockDim.x) / kWarp; ++w) {
    if (int(threadIdx.x) / kWarp == w) give([&](int column, C value) { totals[totals_slot(column)] += value; });
    __syncthreads();
  }
  for (int i = threadIdx.x; i < width; i += blockDim.x) partial[i] = totals[totals_slot(i)];
}

// The transposed matrices that the first kernel needs in addition to those of the forward pass.
template <class C, class T>
__device__ void stage_backward(C* shared, const ConvBlockOutShared& at, const ConvBlockOutGradient<T>& a) {
  const ConvBlockMarch& m = a.march;
  const T *const w_out = a.weight[ConvBlockArgs::kOut], *const w_skip = a.weight[ConvBlockArgs::kSkip];
  stage_matrix(shared + at.out_back, w_out, 1, m.channels, m.channels, m.channels);
  if (m.sources > kConvNarrow)
    stage_matrix(shared + at.skip_back, w_skip, 1, m.sources, m.sources, m.channels);
  else
    stage_narrow(shared + at.skip_back, w_skip, 1, m.sources, m.sources, m.channels);
}

// Computes dv and ds from u and from s = skip(x) without its bias. dv replaces dy in the row `g`; ds replaces s.
template <class C>
__device__ __forceinline__ void split_product(C (&s)[8][4], C* g, const C* u, const C* shared,
                                              const ConvBlockOutShared& at, int pitch, int channels, LanePlace lane) {
  C v[1][8][4];
  row_products(v, {shared + at.out}, u, pitch, channels, lane);
  const Pack<C, 8> b_out = lane_vector(shared + at.b_out(), lane), b_skip = lane_vector(shared + at.b_skip(), lane);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (lane_channel(lane.row, i) >= channels) continue;
    C* const quad = g + lane_channel(lane.row, i) * pitch + lane.quad * 4;
    Pack<C, 4> d = load_pack<4>(quad);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const C ds = d.at[j] * (v[0][i][j] + b_out.at[i]);
      d.at[j] *= s[i][j] + b_skip.at[i];
      s[i][j] = ds;
    }
    store_pack<4>(quad, d);
  }
}

// The sums of a lane's channel of dw.
template <class C>
struct DepthwiseSums {
  C tap[kConvTaps] = {}, bias = 0;

  // Adds du of a row times the three rows of h that it depends on.
  __device__ __forceinline__ void add(const C* du, const C* const (&h)[3]) {
    slide(h, [&](int q, const C(&x)[3][6]) {
      const Pack<C, 4> d = load_pack<4>(du + 4 * q);
      bias += (d.at[0] + d.at[1]) + (d.at[2] + d.at[3]);
#pragma unroll
      for (int i = 0; i < 3; ++i)
#pragma unroll
        for (int k = 0; k < 3; ++k)
#pragma unroll
          for (int j = 0; j < 4; ++j) tap[3 * i + k] += d.at[j] * x[i][j + k];
    });
  }
};

// Computes one row of Wᵀ g from the gradients of all channels in the row `g`, which is overwritten. Calls put(element,
// value) for each source's element in this thread's column, if the column is the strip's own. Elements are counted from
// column 0 of source 0. Calls read() behind the product, when most registers are free.
template <class C, class Read, class Put>
__device__ __forceinline__ void put_dx(const ConvBlockMarch& m, const C* weight, C* g, int pitch, LanePlace lane,
                                       bool own, Read&& read, Put&& put) {
  const int64_t plane = m.frames * m.bins;
  const int column = threadIdx.x % kWarp;
  if (m.sources <= kConvNarrow) {
    read();
#pragma unroll 1
    for (int s = 0; s < m.sources; ++s) {
      const C value = narrow_product(weight + s * kConvChannels, g, pitch, m.channels);
      if (own) put(s * plane + column, value);
    }
    return;
  }
  C sum[1][8][4];
  row_products(sum, {weight}, g, pitch, m.channels, lane);
  __syncwarp();
  put_row(g, pitch, sum[0], m.sources, lane);
  read();
  __syncwarp();
#pragma unroll 8
  for (int s = 0; s < m.sources; ++s)
    if (own) put(s * plane + column, g[s * pitch + column]);
}

template <class T>
__global__ void __launch_bounds__(kConvMostRows* kWarp)
    conv_block_gradient_out(const __grid_constant__ ConvBlockOutGradient<T> a) {
  using C = Compute<T>;
  const ConvBlockMarch& m = a.march;
  const ConvBlockOutShared at(m.sources, m.channels, m.rows);
  const ConvPlace p = conv_place(m);
  const LanePlace lane = lane_place();
  const int warp = threadIdx.x / kWarp, channel = threadIdx.x % kWarp;
  const int pitch = conv_pitch(m.rows), ring_pitch = conv_pitch(m.rows + kConvLookBack);
  const int64_t plane = m.frames * m.bins;
  C* const shared = dynamic_shared<C>();
  C *const x = shared + at.x + warp * kConvColumns, *const u = shared + at.u + warp * kConvColumns;
  C *const g = shared + at.g + warp * kConvColumns, *const h = shared + at.ring;
  stage_forward(shared, at, m, a.weight, a.bias);
  stage_backward(shared, at, a);
  const unsigned columns = existing_columns(m, p, lane.quad);
  __syncthreads();

  OuterSums<C> out, skip;
  DepthwiseSums<C> dw;
  ConvRing ring(m.rows);
  for (int64_t t = p.begin - m.rows; t < p.end; t += m.rows) {
    const int64_t frame = t + warp;
    C sum[2][8][4];  // of in, and of skip, which becomes ds
    const bool own = frame >= p.begin && frame < p.end;
    if (own) load_row(g, pitch, a.dy + conv_offset(m, p, m.channels, frame), plane, m.channels, p.own);
    if (frame >= p.begin - kConvLookBack && frame < p.end) {
      load_row(x, pitch, a.x + conv_offset(m, p, m.sources, frame), plane, m.sources, p.exists && frame >= 0);
      __syncwarp();
      row_products(sum, {shared + at.in, shared + at.skip}, x, pitch, m.sources, lane);
      put_hidden(h + ring.at(kConvLookBack + warp), ring_pitch, sum[0], shared + at.b_in(), frame >= 0 ? columns : 0,
                 m.channels, lane);
    }
    __syncthreads();
    if (own) {
      const C* const from = h + channel * ring_pitch;
      const C* const hidden[3] = {from + ring.at(warp), from + ring.at(warp + 1), from + ring.at(warp + 2)};
      if (channel < m.channels)
        convolve_row(hidden, shared + at.taps + channel,
                     [&](int q, const Pack<C, 4>& sum) { store_pack<4>(u + channel * pitch + 4 * q, sum); });
      __syncwarp();
      split_product(sum[1], g, u, shared, at, pitch, m.channels, lane);
      __syncwarp();
      out.add(g, m.channels, u, m.channels, pitch, lane);
      C du[1][8][4];
      row_products(du, {shared + at.out_back}, g, pitch, m.channels, lane);
      __syncwarp();
      put_row(u, pitch, du[0], m.channels, lane);
      put_row(g, pitch, sum[1], m.channels, lane);
      __syncwarp();
      store_row(a.du + conv_offset(m, p, m.channels, frame), plane, u, pitch, m.channels, p.own);
      if (channel < m.channels) dw.add(u + channel * pitch, hidden);
      skip.add(g, m.channels, x, m.sources, pitch, lane);
      C* const dx_skip = a.dx_skip + conv_offset(m, p, m.sources, frame);
      put_dx(m, shared + at.skip_back, g, pitch, lane, p.own, [] {}, [&](int64_t i, C value) { dx_skip[i] = value; });
    }
    ring.advance();
    __syncthreads();
  }

  const ConvBlockOutSums place(m.sources, m.channels);
  sum_warps(shared + at.totals, int(place.width), a.partial + blockIdx.x * place.width, [&](auto&& add) {
    out.give(
        m.channels, m.channels, lane, [&](int o, int c, C v) { add(place.out + o * m.channels + c, v); },
        [&](int o, C v) { add(place.out_bias + o, v); });
    skip.give(
        m.channels, m.sources, lane, [&](int o, int c, C v) { add(place.skip + o * m.sources + c, v); },
        [&](int o, C v) { add(place.skip_bias + o, v); });
    if (channel >= m.channels) return;
#pragma unroll
    for (int k = 0; k < kConvTaps; ++k) add(place.dw + channel * kConvTaps + k, dw.tap[k]);
    add(place.dw_bias + channel, dw.bias);
  });
}

template <class T>
__global__ void __launch_bounds__(kConvMostRows* kWarp, 2)
    conv_block_gradient_in(const __grid_constant__ ConvBlockInGradient<T> a) {
  using C = Compute<T>;
  const ConvBlockMarch& m = a.march;
  const ConvBlockInShared at(m.sources, m.channels, m.rows);
  const ConvPlace p = conv_place(m);
  const LanePlace lane = lane_place();
  const int warp = threadIdx.x / kWarp, channel = threadIdx.x % kWarp;
  const int pitch = conv_pitch(m.rows), ring_pitch = conv_pitch(m.rows + kConvLookBack);
  const int64_t plane = m.frames * m.bins;
  C* const shared = dynamic_shared<C>();
  C *const x = shared + at.x + warp * kConvColumns, *const dh = shared + at.dh + warp * kConvColumns;
  C* const du = shared + at.ring;
  if (m.sources > kConvNarrow)
    stage_matrix(shared + at.in_back, a.w_in, 1, m.sources, m.sources, m.channels);
  else
    stage_narrow(shared + at.in_back, a.w_in, 1, m.sources, m.sources, m.channels);
  stage_taps(shared + at.taps, a.w_dw, static_cast<const T*>(nullptr), true, m.channels);

  OuterSums<C> in;
  // A warp reads its row of du while it stores dx of the row before, and its row of x during the convolution.
  HeldRow<C> next_du;
  HeldRow<T> next_x;
  // Frames are counted from the block's first one. Their offsets are opaque to save registers.
  const int length = int(p.end - p.begin),
            looks = p.end + kConvLookBack < m.frames ? kConvLookBack : int(m.frames - p.end);
  const C* const du_begin = a.du + conv_offset(m, p, m.channels, p.begin);
  const int64_t begin = conv_offset(m, p, m.sources, p.begin);
  const auto read_du = [&](int ahead) {
    next_du.load(du_begin + int64_t(opaque(ahead)) * m.bins, plane, m.channels,
                 p.exists && ahead >= 0 && ahead < length + looks);
  };
  ConvRing ring(m.rows);  // row i is frame t + i
  read_du(warp + kConvLookBack - m.rows);
  for (int t = -m.rows; t < length; t += m.rows) {
    const int frame = t + warp, ahead = frame + kConvLookBack;
    const bool own = frame >= 0 && frame < length;
    const int64_t offset = begin + int64_t(frame) * m.bins;
    next_du.store(du + ring.at(kConvLookBack + warp), ring_pitch, m.channels);
    __syncthreads();
    next_x.load(a.x + begin + int64_t(opaque(frame)) * m.bins, plane, m.sources, own && p.own);
    if (own && channel < m.channels) {
      const C* const from = du + channel * ring_pitch;
      convolve_row({from + ring.at(warp), from + ring.at(warp + 1), from + ring.at(warp + 2)},
                   shared + at.taps + channel, [&](int q, Pack<C, 4> sum) {
#pragma unroll
                     for (int j = 0; j < 4; ++j) {
                       const int column = 4 * q + j;
                       if (column == 0 || column > kConvOwn || p.bin + column >= m.bins) sum.at[j] = 0;
                     }
                     store_pack<4>(dh + channel * pitch + 4 * q, sum);
                   });
    }
    next_x.store(x, pitch, m.sources);
    ring.advance();
    __syncthreads();
    if (!own) {
      read_du(ahead + m.rows);
      continue;
    }
    in.add(dh, m.channels, x, m.sources, pitch, lane);
    put_dx(
        m, shared + at.in_back, dh, pitch, lane, p.own, [&] { read_du(ahead + m.rows); },
        [&](int64_t i, C value) { a.dx[offset + i] = from_compute<T>(a.dx_skip[offset + i] + value); });
    __syncwarp();  // x is read up to this point
  }

  const ConvBlockInSums place(m.sources, m.channels);
  sum_warps(shared + at.totals, int(place.width), a.partial + blockIdx.x * place.width, [&](auto&& add) {
    in.give(
        m.channels, m.sources, lane, [&](int o, int c, C v) { add(place.in + o * m.sources + c, v); },
        [&](int o, C v) { add(place.in_bias + o, v); });
  });
}

}  // namespace lite_rtse::cuda
