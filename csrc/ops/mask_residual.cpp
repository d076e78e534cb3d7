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
                                                                          Tensor res_real, Tensor res_imag, bool input,
                                                                          bool features) {
  Inputs in{spectrogram, mask_logit, res_mag, res_real, res_imag};
  MaskResidualBackwardArgs a{};
  a.forward = arguments(in);
  check_like("dy", dy, "spectrogram", spectrogram);
  check_shape("dy", dy, {a.forward.batch, a.forward.bins, a.forward.frames, 2}, "the shape of spectrogram");
  a.dy = view(dy, dy.const_data_ptr());
  Tensor dx = input ? new_like(spectrogram) : new_dense(spectrogram, {0});
  Tensor dlogit = new_gradient(features, mask_logit), dmag = new_gradient(features, res_mag),
         dreal = new_gradient(features, res_real), dimag = new_gradient(features, res_imag);
  a.dx = view(input ? dx : spectrogram, gradient_data(dx));
  a.dlogit = gradient_data(dlogit), a.dres_mag = gradient_data(dmag);
  a.dres_real = gradient_data(dreal), a.dres_imag = gradient_data(dimag);
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
      "Tensor res_imag, bool input, bool features) -> (Tensor dx, Tensor dlogit, Tensor dmag, Tensor dreal, "
      "Tensor dimag)");
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
