// What features.cu and launch_features.cu share: running a kernel that gives each thread its element of an array, and
// comparing what came out.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "simt.hpp"

namespace features {

inline cudaLaunchConfig_t geometry(dim3 grid, dim3 block, size_t shared_bytes = 0) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes;
  return config;
}

// The result of one kernel that gives each thread of a grid its element of an array.
template <class T, class... Arguments>
std::vector<T> results(const cudaLaunchConfig_t& config, size_t count, void (*kernel)(T*, Arguments...),
                       std::type_identity_t<Arguments>... arguments) {
  std::vector<T> found(count, T(-1));
  cudaLaunchKernelEx(&config, kernel, found.data(), arguments...);
  return found;
}

template <class T>
std::string differs(const char* what, const std::vector<T>& found, const std::function<T(int)>& expected) {
  if (!simt::report().empty()) return simt::report();
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] != expected(int(i)))
      return std::string(what) + " at " + std::to_string(i) + ": " + std::to_string(found[i]) + " is not " +
             std::to_string(expected(int(i)));
  return "";
}

using Checks = std::map<std::string, std::string (*)()>;
Checks launch_checks();

}  // namespace features
