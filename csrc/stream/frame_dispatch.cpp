// Chooses one build of the one-frame network at first use, as cpu/dispatch.cpp does for the kernels.
#include "../cpu/choose.h"
#include "network.h"

namespace lite_rtse::stream {

LITE_RTSE_CANDIDATES(Engine)

const Engine& engine() {
  static const Engine& chosen = choose(candidates());
  return chosen;
}

std::vector<std::string> runnable_isas() { return runnable(candidates()); }

}  // namespace lite_rtse::stream
