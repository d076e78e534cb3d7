// The products of a recurrent layer that need no frame before. On a GPU they are PyTorch's own.
#pragma once

#include <array>

#include "common.h"

namespace lite_rtse::ops {

// The product of two matrices. Unlike mm, mm.out is the same under autocast.
inline Tensor product(const Tensor& a, const Tensor& b) {
  Tensor out = new_dense(a, {a.size(0), b.size(1)});
  std::array<StableIValue, 3> stack{torch::stable::detail::from(a), torch::stable::detail::from(b),
                                    torch::stable::detail::from(out)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

inline Tensor transposed(const Tensor& matrix) { return torch::stable::transpose(matrix, 0, 1); }

inline Tensor shaped(const Tensor& t, const std::vector<int64_t>& shape) { return torch::stable::reshape(t, shape); }

// The sums of a matrix's rows.
inline Tensor row_sums(const Tensor& matrix) {
  Tensor ones = new_dense(matrix, {matrix.size(1), 1});
  torch::stable::fill_(ones, 1.0);
  return shaped(product(matrix, ones), {matrix.size(0)});
}

}  // namespace lite_rtse::ops
