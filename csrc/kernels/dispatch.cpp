// Chooses one build of the kernels at first use, by what the processor says it can do.
#include <cstdlib>
#include <stdexcept>

#include "api.h"

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

struct Candidate {
  const Kernels* kernels;
  bool runnable;
};

// Best first.
std::vector<Candidate> candidates() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return {{&avx512::table, has_avx512}, {&avx2::table, has_avx2}, {&baseline::table, true}};
#elif defined(__aarch64__)
  return {{&neon::table, true}};  // Advanced SIMD is part of the architecture
#else
  return {{&baseline::table, true}};
#endif
}

const Kernels& choose() {
  const char* wanted = std::getenv("LITE_RTSE_ISA");
  const std::string name = wanted ? wanted : "";
  std::string known;
  for (const Candidate& c : candidates()) {
    if (name.empty() && c.runnable) return *c.kernels;
    if (name == c.kernels->isa) {
      if (c.runnable) return *c.kernels;
      throw std::runtime_error("LITE_RTSE_ISA is '" + name + "', which this processor cannot run");
    }
    known += (known.empty() ? "" : ", ") + std::string(c.kernels->isa);
  }
  throw std::runtime_error("LITE_RTSE_ISA is '" + name + "', must be one of: " + known);
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

std::vector<std::string> runnable_isas() {
  std::vector<std::string> names;
  for (const Candidate& c : candidates())
    if (c.runnable) names.push_back(c.kernels->isa);
  return names;
}

}  // namespace lite_rtse
