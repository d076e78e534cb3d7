#include "common.h"
#include "run.h"

namespace lite_rtse::ops {
namespace {

Spectrogram view(const Tensor& t, const void* data) {
  return {data, t.stride(0), t.stride(1), t.stride(2), t.stride(3)};
}

struct Inputs {
  Tensor spectrogram, logit, res_mag, res_real, res_imag;
};

MaskResidualArgs arguments(Inputs& in) {
  MaskResidualArgs a{};
  const Tensor& x = in.spectrogram;
  a.dtype = dtype_of("spectrogram", x);
  check_shape("spectrogram", x, {kAny, kAny, kAny, 2}, "(batch, bins, frames, real and imaginary part)");
  a.batch = x.size(0), a.bins = x.size(1), a.frames = x.size(2);
  const auto feature = [&](const char* name, Tensor& t) {
    check_like(name, t, "spectrogram", x);
    check_shape(name, t, {a.batch, a.frames, a.bins}, "(batch, frames, bins) of spectrogram");
    t = dense(t);
    return t.const_data_ptr();
  };
  a.logit = feature("mask_logit", in.logit);
  a.res_mag = feature("res_mag", in.res_mag);
  a.res_real = feature("res_real", in.res_real);
  a.res_imag = feature("res_imag", in.res_imag);
  a.x = view(x, x.const_data_ptr());
  return a;
}

// The output has the memory order of the spectrogram, so nothing is reordered before the inverse STFT.
Tensor mask_residual(Tensor spectrogram, Tensor mask_logit, Tensor res_mag, Tensor res_real, Tensor res_imag) {
  Inputs in{spectrogram, mask_logit, res_mag, res_real, res_imag};
  MaskResidualArgs a = arguments(in);
  Tensor y = new_like(spectrogram);
  a.y = view(y, y.mutable_data_ptr());
  run("mask_residual", &Kernels::mask_residual, a, spectrogram);
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> mask_residual_backward(Tensor dy, Tensor spectrogram,
                                                                          Tensor mask_logit, Tensor res_mag,
                                                                          Tensor res_real, Tensor res_imag) {
  Inputs in{spectrogram, mask_logit, res_mag, res_real, res_imag};
  MaskResidualBackwardArgs a{};
  a.forward = arguments(in);
  check_like("dy", dy, "spectrogram", spectrogram);
  check_shape("dy", dy, {a.forward.batch, a.forward.bins, a.forward.frames, 2}, "the shape of spectrogram");
  a.dy = view(dy, dy.const_data_ptr());
  Tensor dx = new_like(spectrogram);
  Tensor dlogit = new_dense_like(mask_logit), dmag = new_dense_like(res_mag), dreal = new_dense_like(res_real),
         dimag = new_dense_like(res_imag);
  a.dx = view(dx, dx.mutable_data_ptr());
  a.dlogit = dlogit.mutable_data_ptr(), a.dres_mag = dmag.mutable_data_ptr();
  a.dres_real = dreal.mutable_data_ptr(), a.dres_imag = dimag.mutable_data_ptr();
  run("mask_residual_backward", &Kernels::mask_residual_backward, a, spectrogram);
  return {dx, dlogit, dmag, dreal, dimag};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lite_rtse, m) {
  m.def(
      "mask_residual(Tensor spectrogram, Tensor mask_logit, Tensor res_mag, Tensor res_real, Tensor res_imag) -> "
      "Tensor");
  m.def(
      "mask_residual_backward(Tensor dy, Tensor spectrogram, Tensor mask_logit, Tensor res_mag, Tensor res_real, "
      "Tensor res_imag) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CPU, m) {
  m.impl("mask_residual", TORCH_BOX(&mask_residual));
  m.impl("mask_residual_backward", TORCH_BOX(&mask_residual_backward));
}
#ifdef LITE_RTSE_CUDA
STABLE_TORCH_LIBRARY_IMPL(lite_rtse, CUDA, m) {
  m.impl("mask_residual", TORCH_BOX(&mask_residual));
  m.impl("mask_residual_backward", TORCH_BOX(&mask_residual_backward));
}
#endif

}  // namespace lite_rtse::ops
