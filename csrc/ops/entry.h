// Functions for Python's ctypes, which need neither tensors nor a schema. No exception may leave these functions.
#pragma once

#include <exception>
#include <string>

#define LITE_RTSE_EXPORT extern "C" __attribute__((visibility("default")))

namespace lite_rtse::ops {

// The reason why this thread's last call failed; empty if it succeeded.
inline thread_local std::string failure;

// Returns the result of `call`, or `otherwise` if it throws. Python then asks for the reason.
template <class Call, class Result>
Result guarded(Result otherwise, Call call) {
  failure.clear();
  try {
    return call();
  } catch (const std::exception& e) {
    failure = e.what();
  } catch (...) {
    failure = "an exception of unknown type";
  }
  return otherwise;
}

}  // namespace lite_rtse::ops
