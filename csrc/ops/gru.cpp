#include "common.h"
#include "entry.h"
#include "products.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

// The data of tensor `index` of a list, as dense_data gives that of one tensor.
const void* element_data(const char* list_name, std::vector<Tensor>& list, int64_t index, const Tensor& x,
                         std::initializer_list<int64_t> shape, const char* meaning) {
  const std::string name = std::string(list_name) + "[" + std::to_string(index) + "]";
  return dense_data(name.c_str(), list[index], x, shape, meaning);
}

// The arguments that forward and backward share; the tensors become dense.
RecurrentArgs arguments(Tensor& x, std::vector<Tensor>& weights, std::vector<Tensor>& biases,
                        std::optional<Tensor>& h0) {
  RecurrentArgs a{};
  a.dtype = dtype_of("x", x);
  check_shape("x", x, {kAny, kAny, kAny}, "(batch, frames, inputs)");
  STD_TORCH_CHECK(x.size(1) > 0, "x has shape ", shape_text(x), ", must have at least one frame");
  STD_TORCH_CHECK(weights.size() == 2 || weights.size() == 4, "weights has ", weights.size(),
                  " tensors, must have 2 for each of one or two directions");
  STD_TORCH_CHECK(biases.empty() || biases.size() == weights.size(), "biases has ", biases.size(),
                  " tensors, must have ", weights.size(), " or none");
  check_shape("weights[1]", weights[1], {kAny, kAny}, "(3 units, units)");
  a.batch = x.size(0), a.frames = x.size(1), a.inputs = x.size(2), a.units = weights[1].size(1);
  a.directions = int64_t(weights.size()) / 2;
  STD_TORCH_CHECK(a.units > 0, "weights[1] has shape ", shape_text(weights[1]), ", must have at least one unit");
  for (int64_t d = 0; d < a.directions; ++d) {
    a.weight_ih[d] = element_data("weights", weights, 2 * d, x, {3 * a.units, a.inputs}, "(3 units, inputs of x)");
    a.weight_hh[d] = element_data("weights", weights, 2 * d + 1, x, {3 * a.units, a.units}, "(3 units, units)");
    if (biases.empty()) continue;
    a.bias_ih[d] = element_data("biases", biases, 2 * d, x, {3 * a.units}, "(3 units)");
    a.bias_hh[d] = element_data("biases", biases, 2 * d + 1, x, {3 * a.units}, "(3 units)");
  }
  a.h0 = dense_data("h0", h0, x, {a.directions, a.batch, a.units}, "(directions, batch of x, units)");
  x = dense(x);
  a.x = x.const_data_ptr();
  return a;
}

// The dtype of what the forward pass keeps.
torch::headeronly::ScalarType kept_type(const RecurrentArgs& a) {
  using torch::headeronly::ScalarType;
  return a.dtype == DType::f64 ? ScalarType::Double : ScalarType::Float;
}

#ifdef LITE_RTSE_CUDA

GruRecurrenceArgs recurrence(const RecurrentArgs& a) {
  GruRecurrenceArgs r{a.dtype, a.batch, a.frames, a.units, a.directions, {}, {}, {}, {}, a.h0, a.y, a.kept};
  for (int64_t d = 0; d < a.directions; ++d)
    r.weight_hh[d] = a.weight_hh[d], r.bias_ih[d] = a.bias_ih[d], r.bias_hh[d] = a.bias_hh[d];
  return r;
}

// `t` in the type that the kernels compute in. Products of half types would be rounded to them.
Tensor computed(const RecurrentArgs& a, const Tensor& t) {
  if (t.scalar_type() == kept_type(a)) return t;
  return allocated(t, 2 * t.numel(), [&] { return torch::stable::to(t, kept_type(a)); });
}
Tensor new_computed(const RecurrentArgs& a, const Tensor& like, const std::vector<int64_t>& shape) {
  return allocated(like, 0, [&] { return torch::stable::new_empty(like, shape, kept_type(a)); });
}

// On a GPU all gaps are at the end. They are not read, but the same call must return the same numbers.
void clear_gaps(const RecurrentArgs& a, Tensor& kept) {
  const int64_t gaps = a.directions * RecurrentArgs::kKeptGap;
  Tensor end = torch::stable::narrow(kept, 0, a.kept_size() - gaps, gaps);
  torch::stable::zero_(end);
}

// The input's product is PyTorch's own. Only what depends on the frame before is a kernel of this library.
void gru_on_gpu(const RecurrentArgs& a, const Tensor& x, const std::vector<Tensor>& weights) {
  const Tensor rows = shaped(computed(a, x), {a.batch * a.frames, a.inputs});
  GruRecurrenceArgs r = recurrence(a);
  std::vector<Tensor> inputs;
  for (int64_t d = 0; d < a.directions; ++d) {
    inputs.push_back(product(rows, transposed(computed(a, weights[2 * d]))));
    r.input[d] = inputs.back().const_data_ptr();
  }
  enqueue("gru", r, x);
}

// The kernel computes the gates' gradients, all else is products of these with x and with h before each frame. Returns
// what gru_backward does; a.dh0 is filled.
std::vector<Tensor> gru_backward_on_gpu(const RecurrentBackwardArgs& a, const Tensor& x,
                                        const std::vector<Tensor>& weights, const Tensor& dh0, bool with_biases,
                                        bool input, bool parameters) {
  const RecurrentArgs& f = a.forward;
  const int64_t frames = f.batch * f.frames;
  GruRecurrenceBackwardArgs r{recurrence(f), a.dy, {}, {}, {}, a.dh0};
  std::vector<Tensor> by_input, by_state, before;
  const auto scratch = [&](std::vector<Tensor>& list, int64_t width) {
    list.push_back(new_computed(f, x, {frames, width}));
    return list.back().mutable_data_ptr();
  };
  for (int64_t d = 0; d < f.directions; ++d) {
    r.dinput[d] = scratch(by_input, 3 * f.units), r.dstate[d] = scratch(by_state, 3 * f.units);
    r.before[d] = scratch(before, f.units);
  }
  enqueue("gru_backward", r, x);

  const auto stored = [&](const Tensor& t) { return torch::stable::to(t, x.scalar_type()); };
  const Tensor none = new_dense(x, {0}), rows = shaped(computed(f, x), {frames, f.inputs});
  std::vector<Tensor> by_weights, by_biases;
  Tensor dx = none;
  for (int64_t d = 0; d < f.directions; ++d) {
    const Tensor to_input = transposed(by_input[d]), to_state = transposed(by_state[d]);
    by_weights.push_back(parameters ? stored(product(to_input, rows)) : none);
    by_weights.push_back(parameters ? stored(product(to_state, before[d])) : none);
    by_biases.push_back(parameters && with_biases ? stored(row_sums(to_input)) : none);
    by_biases.push_back(parameters && with_biases ? stored(row_sums(to_state)) : none);
    if (!input) continue;
    const Tensor part = product(by_input[d], computed(f, weights[2 * d]));
    dx = d == 0 ? part : torch::stable::subtract(dx, part, -1.0);
  }
  std::vector<Tensor> gradients{input ? stored(shaped(dx, {f.batch, f.frames, f.inputs})) : none};
  gradients.insert(gradients.end(), by_weights.begin(), by_weights.end());
  if (with_biases) gradients.insert(gradients.end(), by_biases.begin(), by_biases.end());
  gradients.push_back(dh0);
  return gradients;
}

#endif

std::tuple<Tensor, Tensor> gru(Tensor x, std::vector<Tensor> weights, std::vector<Tensor> biases,
                               std::optional<Tensor> h0, bool keep) {
  RecurrentArgs a = arguments(x, weights, biases, h0);
  Tensor y = new_dense(x, {a.batch, a.frames, a.directions * a.units});
  const int64_t size = keep ? a.kept_size() : 0;
  Tensor kept = allocated(x, size, [&] { return torch::stable::new_empty(x, {size}, kept_type(a)); });
  a.y = y.mutable_data_ptr();
  if (keep) a.kept = kept.mutable_data_ptr();
#ifdef LITE_RTSE_CUDA
  if (x.is_cuda()) {
    gru_on_gpu(a, x, weights);
    if (keep) clear_gaps(a, kept);
    return {y, kept};
  }
#endif
  run_on_cpu(&Kernels::gru, a);
  return {y, kept};
}

// Returns dx, then the gradients of the weights, then those of the biases, then dh0. Those that are not wanted are
// empty.
std::vector<Tensor> gru_backward(Tensor dy, Tensor x, std::vector<Tensor> weights, std::vector<Tensor> biases,
                                 std::optional<Tensor> h0, Tensor y, Tensor kept, bool input, bool parameters,
                                 bool state) {
  RecurrentBackwardArgs a{};
  RecurrentArgs& f = a.forward;
  f = arguments(x, weights, biases, h0);
  // These tensors are only read, as all inputs are. The casts are needed because the struct belongs to the forward
  // pass, which writes them.
  const int64_t outputs = f.directions * f.units;
  f.y = const_cast<void*>(dense_data("y", y, x, {f.batch, f.frames, outputs}, "(batch, frames, directions · units)"));
  a.dy = dense_data("dy", dy, x, {f.batch, f.frames, outputs}, "the shape of y");
  check_device("kept", kept, "x", x);
  check_shape("kept", kept, {f.kept_size()}, "what gru kept of these tensors");
  check_dtype("kept", kept, kept_type(f));
  kept = dense(kept);
  f.kept = const_cast<void*>(kept.const_data_ptr());
  std::vector<Tensor> gradients;
  const auto gradient = [&](bool wanted, const std::vector<int64_t>& shape) -> void* {
    gradients.push_back(new_dense(x, wanted ? shape : std::vector<int64_t>{0}));
    return wanted ? gradients.back().mutable_data_ptr() : nullptr;
  };
#ifdef LITE_RTSE_CUDA
  if (x.is_cuda()) {
    a.dh0 = gradient(state, {f.directions, f.batch, f.units});
    return gru_backward_on_gpu(a, x, weights, gradients.back(), !biases.empty(), input, parameters);
  }
#endif
  a.dx = gradient(input, {f.batch, f.frames, f.inputs});
  for (int64_t d = 0; d < f.directions; ++d) {
    a.dweight_ih[d] = gradient(parameters, {3 * f.units, f.inputs});
    a.dweight_hh[d] = gradient(parameters, {3 * f.units, f.units});
  }
  for (int64_t d = 0; d < f.directions && !biases.empty(); ++d) {
    a.dbias_ih[d] = gradient(parameters, {3 * f.units});
    a.dbias_hh[d] = gradient(parameters, {3 * f.units});
  }
  a.dh0 = gradient(state, {f.directions, f.batch, f.units});
  run_on_cpu(&Kernels::gru_backward, a);
  return gradients;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def("gru(Tensor x, Tensor[] weights, Tensor[] biases, Tensor? h0, bool keep) -> (Tensor y, Tensor kept)");
  m.def(
      "gru_backward(Tensor dy, Tensor x, Tensor[] weights, Tensor[] biases, Tensor? h0, Tensor y, Tensor kept, "
      "bool input, bool parameters, bool state) -> Tensor[]");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("gru", TORCH_BOX(&gru));
  m.impl("gru_backward", TORCH_BOX(&gru_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("gru", TORCH_BOX(&gru));
  m.impl("gru_backward", TORCH_BOX(&gru_backward));
}
#endif

}  // namespace lite_rtse::ops

// Whether the kernels of a GPU can run a GRU of so many units there. No build for the CPU has any.
LITE_RTSE_EXPORT bool lite_rtse_gru_fits([[maybe_unused]] int32_t dtype, [[maybe_unused]] int64_t units,
                                         [[maybe_unused]] int64_t directions, [[maybe_unused]] int32_t device) {
#ifdef LITE_RTSE_CUDA
  return lite_rtse::ops::guarded(false, [=] {
    const torch::stable::accelerator::DeviceGuard guard(device);
    return lite_rtse::cuda::gru_fits(lite_rtse::DType(dtype), units, directions, lite_rtse::ops::device_limits(device));
  });
#else
  return false;
#endif
}
