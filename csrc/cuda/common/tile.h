// The sizes of the tiles of tile.cuh, which the launch plans need too.
#pragma once

#include "plan.h"

namespace lite_rtse::cuda {

inline constexpr int kTile = 32;  // rows and columns of a warp's product

// The number of elements from one channel to the next in a tile of `points`: a multiple of 32 plus 8. The lanes of a
// warp may read or write 16 bytes of eight neighboring channels, or of four channels at two quads. With this pitch they
// use different banks.
LITE_RTSE_SHARED_CODE constexpr int channel_pitch(int points) { return (points + 31) / 32 * 32 + 8; }

// The number of elements of a block of 32 x 32 weights, and from one of its sources to the next.
inline constexpr int kWeightPitch = kTile + 4;
inline constexpr int kWeightBlock = kTile * kWeightPitch;

}  // namespace lite_rtse::cuda
