// Chooses one build of the kernels at first use, by what the processor says it can do.
#include "api.h"
#include "choose.h"

namespace lite_rtse {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels table;
}
namespace avx2 {
extern const Kernels table;
}
namespace baseline {
extern const Kernels table;
}
#elif defined(__aarch64__)
namespace neon {
extern const Kernels table;
}
#else
namespace baseline {
extern const Kernels table;
}
#endif

namespace {

// Best first.
std::vector<Candidate<Kernels>> candidates() {
#if defined(__x86_64__)
  return {{&avx512::table, has_avx512()}, {&avx2::table, has_avx2()}, {&baseline::table, true}};
#elif defined(__aarch64__)
  return {{&neon::table, true}};  // Advanced SIMD is part of the architecture
#else
  return {{&baseline::table, true}};
#endif
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose(candidates());
  return chosen;
}

std::vector<std::string> runnable_isas() { return runnable(candidates()); }

}  // namespace lite_rtse
