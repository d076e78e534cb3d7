// Chooses one build of the one-frame network at first use, as cpu/dispatch.cpp does for the kernels.
#include "../cpu/choose.h"
#include "network.h"

namespace lite_rtse::stream {

#if defined(__x86_64__)
namespace avx512 {
extern const Engine table;
}
namespace avx2 {
extern const Engine table;
}
namespace baseline {
extern const Engine table;
}
#elif defined(__aarch64__)
namespace neon {
extern const Engine table;
}
#else
namespace baseline {
extern const Engine table;
}
#endif

namespace {

// Best first.
std::vector<Candidate<Engine>> candidates() {
#if defined(__x86_64__)
  return {{&avx512::table, has_avx512()}, {&avx2::table, has_avx2()}, {&baseline::table, true}};
#elif defined(__aarch64__)
  return {{&neon::table, true}};
#else
  return {{&baseline::table, true}};
#endif
}

}  // namespace

const Engine& engine() {
  static const Engine& chosen = choose(candidates());
  return chosen;
}

std::vector<std::string> runnable_isas() { return runnable(candidates()); }

}  // namespace lite_rtse::stream
