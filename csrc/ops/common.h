// Code that every operator needs between the dispatcher and the kernels: argument checks, dtypes, dense tensors.
//
// The checks raise Python's RuntimeError (STD_TORCH_CHECK). Each message names the argument, what it was and what it
// must be.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../operators.h"

// PyTorch's message about a failed allocation. The function exists from PyTorch 2.13 on.
extern "C" __attribute__((weak)) const char* torch_exception_get_what_without_backtrace();

namespace lite_rtse::ops {

using torch::stable::Tensor;

inline std::string shape_text(const Tensor& t) {
  std::string text = "(";
  for (int64_t i = 0; i < t.dim(); ++i) text += (i ? ", " : "") + std::to_string(t.size(i));
  return text + ")";
}

inline std::string device_text(const Tensor& t) {
  if (t.is_cpu()) return "the CPU";
  if (t.is_cuda()) return "cuda:" + std::to_string(t.get_device_index());
  return "a device that is neither the CPU nor CUDA";
}

// A wildcard for check_shape.
inline constexpr int64_t kAny = -1;

inline void check_shape(const char* name, const Tensor& t, std::initializer_list<int64_t> expected,
                        const char* meaning) {
  STD_TORCH_CHECK(t.defined(), name, " is None, must be a tensor");
  bool same = t.dim() == int64_t(expected.size());
  int64_t i = 0;
  for (int64_t n : expected) {
    if (same && n != kAny && t.size(i) != n) same = false;
    ++i;
  }
  std::string text;
  for (int64_t n : expected) text += (text.empty() ? "" : ", ") + (n == kAny ? std::string("*") : std::to_string(n));
  STD_TORCH_CHECK(same, name, " has shape ", shape_text(t), ", must be (", text, "): ", meaning);
}

inline DType dtype_of(const char* name, const Tensor& t) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(t.defined(), name, " is None, must be a tensor");
  switch (t.scalar_type()) {
    case ScalarType::Double: return DType::f64;
    case ScalarType::Float: return DType::f32;
    case ScalarType::Half: return DType::f16;
    case ScalarType::BFloat16: return DType::bf16;
    default: break;
  }
  STD_TORCH_CHECK(false, name, " has dtype ", torch::headeronly::toString(t.scalar_type()),
                  ", must be Double, Float, Half or BFloat16");
  return DType::f32;
}

// `t` must live where `first` lives.
inline void check_device(const char* name, const Tensor& t, const char* first_name, const Tensor& first) {
  STD_TORCH_CHECK(t.defined(), name, " is None, must be a tensor");
  STD_TORCH_CHECK(t.device() == first.device(), name, " is on ", device_text(t), ", must be on the device of ",
                  first_name, ", ", device_text(first));
}

inline void check_dtype(const char* name, const Tensor& t, torch::headeronly::ScalarType expected) {
  STD_TORCH_CHECK(t.scalar_type() == expected, name, " has dtype ", torch::headeronly::toString(t.scalar_type()),
                  ", must be ", torch::headeronly::toString(expected));
}

// `t` must live where `first` lives and have its dtype.
inline void check_like(const char* name, const Tensor& t, const char* first_name, const Tensor& first) {
  check_device(name, t, first_name, first);
  STD_TORCH_CHECK(t.scalar_type() == first.scalar_type(), name, " has dtype ",
                  torch::headeronly::toString(t.scalar_type()), ", must be that of ", first_name, ", ",
                  torch::headeronly::toString(first.scalar_type()));
}

inline void check_count(const char* name, const std::vector<Tensor>& list, size_t expected) {
  STD_TORCH_CHECK(list.size() == expected, name, " has ", list.size(), " tensors, must have ", expected);
}

// A new tensor from PyTorch. PyTorch's C interface does not pass on the reason of a failure. The error is therefore
// raised in PyTorch's words, by which callers recognize that memory is exhausted.
template <class Make>
Tensor allocated(const Tensor& like, int64_t elements, Make make) {
  try {
    return make();
  } catch (const std::runtime_error&) {
    if (torch_exception_get_what_without_backtrace)
      throw std::runtime_error(torch_exception_get_what_without_backtrace());
    const std::string bytes = std::to_string(elements * int64_t(like.element_size()));
    throw std::runtime_error(like.is_cuda() ? "CUDA out of memory. Tried to allocate " + bytes + " bytes"
                                            : "DefaultCPUAllocator: can't allocate memory: you tried to allocate " +
                                                  bytes + " bytes");
  }
}

// A tensor in dense row-major order. It is copied only if it is not in that order already.
inline Tensor dense(const Tensor& t) {
  return t.is_contiguous() ? t : allocated(t, t.numel(), [&] { return torch::stable::contiguous(t); });
}

inline std::vector<Tensor> dense(const std::vector<Tensor>& list) {
  std::vector<Tensor> result;
  for (const Tensor& t : list) result.push_back(dense(t));
  return result;
}

// The data of a tensor of the given shape, with x's device and dtype; `t` becomes dense.
inline const void* dense_data(const char* name, Tensor& t, const Tensor& x, std::initializer_list<int64_t> shape,
                              const char* meaning) {
  check_like(name, t, "x", x);
  check_shape(name, t, shape, meaning);
  t = dense(t);
  return t.const_data_ptr();
}
// The same of a tensor that may be absent; null if it is.
inline const void* dense_data(const char* name, std::optional<Tensor>& t, const Tensor& x,
                              std::initializer_list<int64_t> shape, const char* meaning) {
  return t ? dense_data(name, *t, x, shape, meaning) : nullptr;
}

inline Tensor new_dense(const Tensor& like, const std::vector<int64_t>& shape) {
  const int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<int64_t>());
  return allocated(like, elements, [&] { return torch::stable::new_empty(like, shape); });
}
inline Tensor new_dense_like(const Tensor& t) {
  return new_dense(t, std::vector<int64_t>(t.sizes().begin(), t.sizes().end()));
}
// A gradient of `t` if it is wanted. Otherwise it has no numbers, and a kernel gets a null pointer for it.
inline Tensor new_gradient(bool wanted, const Tensor& t) { return wanted ? new_dense_like(t) : new_dense(t, {0}); }
inline std::vector<Tensor> new_gradients(bool wanted, const std::vector<Tensor>& list) {
  std::vector<Tensor> result;
  for (const Tensor& t : list) result.push_back(new_gradient(wanted, t));
  return result;
}
inline void* gradient_data(const Tensor& t) { return t.numel() ? t.mutable_data_ptr() : nullptr; }

// A new tensor in the memory order of `t`, as torch.empty_like keeps it.
inline Tensor new_like(const Tensor& t) {
  return allocated(t, t.numel(), [&] { return torch::stable::empty_like(t); });
}

inline std::vector<const void*> data_of(const std::vector<Tensor>& list) {
  std::vector<const void*> result;
  for (const Tensor& t : list) result.push_back(t.const_data_ptr());
  return result;
}
inline std::vector<void*> gradient_data(const std::vector<Tensor>& list) {
  std::vector<void*> result;
  for (const Tensor& t : list) result.push_back(gradient_data(t));
  return result;
}

}  // namespace lite_rtse::ops
