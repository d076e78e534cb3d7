// Functions for Python's ctypes, which need neither tensors nor a schema. An exception must not leave one of them.
#pragma once

#include <exception>
#include <string>

#define LITE_RTSE_EXPORT extern "C" __attribute__((visibility("default")))

namespace lite_rtse::ops {

// Why this thread's last call failed; empty where it did not.
inline thread_local std::string failure;

// What `call` returns, or where it throws `otherwise`; Python then asks for the failure.
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
