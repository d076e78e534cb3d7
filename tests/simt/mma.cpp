// mma.m16n8k16: D += A B, with D of 16 x 8, A of 16 x 16 and B of 16 x 8 numbers.
//
// The registers of a lane are those of the PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type", as
// formulas that this document gives for the number i of a lane with group = lane / 4 and member = lane % 4:
//
//   A  row = group, or group + 8 for i = 2, 3, 6, 7       column = 2 member + i % 2, and 8 more for i >= 4
//   B  row = 2 member + i % 2, and 8 more for i >= 2      column = group
//   D  row = group, and 8 more for i >= 2                 column = 2 member + i % 2
//
// The PTX ISA says of the sum that it has the precision of float32 at least, in no given order. Devices were found to
// align all terms to the largest one, and to drop the bits below it, in the sum too: M. Fasi, N. Higham, M. Mikaitis
// and S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021. Here all 17 terms
// of a result are aligned at once, to no more than the 24 bits of float32. Devices are no less exact.
#include "mma.hpp"

#include <algorithm>
#include <cmath>

#include "half.hpp"

namespace simt {
namespace {

constexpr int kRows = 16, kColumns = 8, kInner = 16, kTerms = kInner + 1, kLanes = 32;

double number(const uint32_t* words, int i, bool bfloat16) {
  const auto bits = (unsigned short)(words[i / 2] >> 16 * (i % 2));
  return bfloat16 ? float_of_bfloat16(bits) : float_of_half(bits);
}

float toward_zero(double x) {
  const float nearest = float(x);
  return std::isfinite(nearest) && std::abs(double(nearest)) > std::abs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

float sum_of(const double (&terms)[kTerms]) {
  double largest = 0, plain = 0;
  for (const double term : terms) largest = std::max(largest, std::abs(term)), plain += term;
  if (largest == 0 || !std::isfinite(plain)) return float(plain);
  constexpr int kBits = 24, kSmallest = -149;  // exponent of float32's smallest number
  const double unit = std::ldexp(1.0, std::max(std::ilogb(largest) - (kBits - 1), kSmallest));
  double sum = 0;
  for (const double term : terms) sum += std::trunc(term / unit) * unit;
  return toward_zero(sum);
}

}  // namespace

void multiply(const Fragments* const (&lanes)[kLanes], bool bfloat16) {
  double a[kRows][kInner], b[kInner][kColumns];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 8; ++i)
      a[group + (i / 2 % 2 ? 8 : 0)][2 * member + i % 2 + (i >= 4 ? 8 : 0)] = number(lanes[lane]->a, i, bfloat16);
    for (int i = 0; i < 4; ++i) b[2 * member + i % 2 + (i >= 2 ? 8 : 0)][group] = number(lanes[lane]->b, i, bfloat16);
  }
  for (int lane = 0; lane < kLanes; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + (i >= 2 ? 8 : 0), column = 2 * (lane % 4) + i % 2;
      double terms[kTerms];
      for (int k = 0; k < kInner; ++k) terms[k] = a[row][k] * b[k][column];
      terms[kInner] = lanes[lane]->d[i];
      lanes[lane]->d[i] = sum_of(terms);
    }
}

}  // namespace simt
