// Chooses the build that this processor uses, for code that is compiled once for each instruction set.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace lite_rtse {

// A build's table of entry points. The table's member `isa` names the build.
template <class Table>
struct Candidate {
  const Table* table;
  bool runnable;
};

// Defines `candidates`, the builds of a library, best first. Use the macro in the namespace that holds the namespaces
// of the builds.
#if defined(__x86_64__)
inline bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
inline bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}

#define LITE_RTSE_CANDIDATES(Table)                                                                \
  namespace avx512 {                                                                               \
  extern const Table table;                                                                        \
  }                                                                                                \
  namespace avx2 {                                                                                 \
  extern const Table table;                                                                        \
  }                                                                                                \
  namespace baseline {                                                                             \
  extern const Table table;                                                                        \
  }                                                                                                \
  static std::vector<Candidate<Table>> candidates() {                                              \
    return {{&avx512::table, has_avx512()}, {&avx2::table, has_avx2()}, {&baseline::table, true}}; \
  }
#else
#if defined(__aarch64__)
#define LITE_RTSE_ONLY_BUILD neon  // Advanced SIMD is part of the architecture
#else
#define LITE_RTSE_ONLY_BUILD baseline
#endif
#define LITE_RTSE_CANDIDATES(Table) \
  namespace LITE_RTSE_ONLY_BUILD {  \
  extern const Table table;         \
  }                                 \
  static std::vector<Candidate<Table>> candidates() { return {{&LITE_RTSE_ONLY_BUILD::table, true}}; }
#endif

// The first build that this machine can run, or the build that the environment variable LITE_RTSE_ISA names. Throws
// std::runtime_error if the variable names an unknown build or a build that this machine cannot run.
template <class Table>
const Table& choose(const std::vector<Candidate<Table>>& candidates) {
  const char* wanted = std::getenv("LITE_RTSE_ISA");
  const std::string name = wanted ? wanted : "";
  std::string known;
  for (const Candidate<Table>& c : candidates) {
    if (name.empty() && c.runnable) return *c.table;
    if (name == c.table->isa) {
      if (c.runnable) return *c.table;
      throw std::runtime_error("LITE_RTSE_ISA is '" + name + "', which this processor cannot run");
    }
    known += (known.empty() ? "" : ", ") + std::string(c.table->isa);
  }
  throw std::runtime_error("LITE_RTSE_ISA is '" + name + "', must be one of: " + known);
}

template <class Table>
std::vector<std::string> runnable(const std::vector<Candidate<Table>>& candidates) {
  std::vector<std::string> names;
  for (const Candidate<Table>& c : candidates)
    if (c.runnable) names.push_back(c.table->isa);
  return names;
}

}  // namespace lite_rtse
