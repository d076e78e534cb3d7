// What was built and what is in use: asked for from Python with ctypes, so that it needs neither tensors nor a schema.
#include <exception>
#include <string>

#include "../kernels/api.h"

#define LITE_RTSE_EXPORT extern "C" __attribute__((visibility("default")))

// The instruction set in use, or "error: …" where LITE_RTSE_ISA names none that can run here.
LITE_RTSE_EXPORT const char* lite_rtse_isa() {
  static const std::string answer = [] {
    try {
      return std::string(lite_rtse::kernels().isa);
    } catch (const std::exception& e) {
      return std::string("error: ") + e.what();
    }
  }();
  return answer.c_str();
}

// The instruction sets that this machine can run, best first, separated by commas.
LITE_RTSE_EXPORT const char* lite_rtse_runnable_isas() {
  static const std::string answer = [] {
    std::string list;
    for (const std::string& name : lite_rtse::runnable_isas()) list += (list.empty() ? "" : ",") + name;
    return list;
  }();
  return answer.c_str();
}
