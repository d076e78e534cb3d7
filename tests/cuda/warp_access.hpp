// What one access of a warp costs: passes through shared memory, or sectors of global memory.
//
// Shared memory has 32 banks of 4 bytes. A pass moves up to one 32-bit word for each bank; the same word may go to many
// lanes. Of the lanes that are served together, each bank takes as many passes as they want different words from it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace trace {

constexpr unsigned kWarp = 32, kBanks = 32;
constexpr unsigned kSector = 32;  // bytes that global memory is read and written by

struct WarpAccess {
  uint32_t mask = 0;
  uintptr_t address[kWarp];
};

struct Cost {
  unsigned passes = 0, fewest = 0, worst = 1;
};

struct Banks {
  std::vector<uintptr_t> words[kBanks];

  void add(uintptr_t address, unsigned bytes) {
    const uintptr_t last = (address + bytes - 1) / 4;
    for (uintptr_t word = address / 4; word <= last; ++word) {
      auto& bank = words[word % kBanks];
      if (std::find(bank.begin(), bank.end(), word) == bank.end()) bank.push_back(word);
    }
  }
  unsigned conflict() const {
    size_t most = 0;
    for (const auto& bank : words) most = std::max(most, bank.size());
    return unsigned(most);
  }
};

// Whether every active lane reads the same address as the lane whose index differs in `bit`, if that one is active.
inline bool in_pairs(const WarpAccess& access, unsigned first, unsigned last, unsigned bit) {
  for (unsigned lane = first; lane < last; ++lane) {
    const unsigned other = lane ^ bit;
    const bool both = access.mask >> lane & 1 && access.mask >> other & 1;
    if (both && access.address[lane] != access.address[other]) return false;
  }
  return true;
}

// Lanes that are served together: all 32 for up to 4 bytes a lane, half of them for 8, a quarter for 16; twice as many
// where lanes read the same addresses in pairs. NVIDIA documents the banks; this is what devices were found to do.
inline unsigned group_size(const WarpAccess& access, unsigned first, unsigned width) {
  if (width <= 4) return kWarp;
  const unsigned size = width == 8 ? kWarp / 2 : kWarp / 4;
  if (first % (2 * size)) return size;
  const unsigned last = first + 2 * size;
  return in_pairs(access, first, last, 1) || in_pairs(access, first, last, 2) ? 2 * size : size;
}

inline Cost shared_cost(const WarpAccess& access, unsigned width) {
  Cost cost;
  for (unsigned first = 0; first < kWarp;) {
    const unsigned size = group_size(access, first, width);
    Banks group;
    for (unsigned lane = first; lane < first + size; ++lane) {
      if (!(access.mask >> lane & 1)) continue;
      group.add(access.address[lane], width);
    }
    const unsigned conflict = group.conflict();
    cost.passes += conflict;
    cost.fewest += conflict > 0;
    cost.worst = std::max(cost.worst, conflict);
    first += size;
  }
  return cost;
}

inline unsigned sectors_of(const WarpAccess& access, unsigned width) {
  uintptr_t touched[2 * kWarp];
  unsigned count = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(access.mask >> lane & 1)) continue;
    touched[count++] = access.address[lane] / kSector;
    touched[count++] = (access.address[lane] + width - 1) / kSector;
  }
  std::sort(touched, touched + count);
  return unsigned(std::unique(touched, touched + count) - touched);
}

}  // namespace trace
