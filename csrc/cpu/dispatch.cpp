// Chooses one build of the kernels at first use, from the features that the processor reports.
#include "api.h"
#include "choose.h"

namespace lite_rtse {

LITE_RTSE_CANDIDATES(Kernels)

const Kernels& kernels() {
  static const Kernels& chosen = choose(candidates());
  return chosen;
}

std::vector<std::string> runnable_isas() { return runnable(candidates()); }

}  // namespace lite_rtse
