// A vector of kLanes<T> numbers, from the compilers' vector extensions. Arithmetic uses ordinary operators. It becomes
// SSE2, AVX2, AVX-512 or NEON by the target of the file that includes this one. There are no intrinsics.

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVectorBytes), may_alias));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), may_alias, aligned(alignof(T))));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
constexpr int64_t kLanes = kVectorBytes / sizeof(T);

template <class T>
LITE_RTSE_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const Vec<T>*>(p);
}
template <class T>
LITE_RTSE_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<Vec<T>*>(p) = v;
}
template <class T>
LITE_RTSE_INLINE Vec<T> load_unaligned(const T* p) {
  return *reinterpret_cast<const typename VecOf<T>::unaligned*>(p);
}
template <class T>
LITE_RTSE_INLINE void store_unaligned(T* p, Vec<T> v) {
  *reinterpret_cast<typename VecOf<T>::unaligned*>(p) = v;
}
template <class T>
LITE_RTSE_INLINE void add_to(T* p, Vec<T> v) {
  store(p, load(p) + v);
}

// Hides from the compiler how the pointer was computed. Accesses then use one base register plus constant offsets.
// Otherwise GCC keeps a register per offset and runs out of registers. Its indexed operands then take two slots of the
// pipeline.
template <class P>
LITE_RTSE_INLINE P* in_register(P* p) {
  asm("" : "+r"(p));
  return p;
}

// Sums the lanes by halves. The order is the same for every compiler, and the depth is half that of a running sum.
template <class T>
LITE_RTSE_INLINE T lane_sum(Vec<T> v) {
  alignas(kVectorBytes) T lane[kLanes<T>];
  store(lane, v);
#pragma GCC unroll 8
  for (int64_t half = kLanes<T> / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- Half types ----------------------------------------------------------------------------------------------------
// Without branches, so that the loops over rows below vectorize on every instruction set.

LITE_RTSE_INLINE float bits_to_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }
LITE_RTSE_INLINE uint32_t float_to_bits(float x) { return __builtin_bit_cast(uint32_t, x); }

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

LITE_RTSE_INLINE float widen(BFloat16 h) { return bits_to_float(uint32_t(h.bits) << 16); }

// The exponent and mantissa fields move up by 13 bits, and 127 - 15 = 112 is added to the exponent. An all-ones
// exponent (Inf, NaN) must become the float's all-ones exponent. Half subnormals are integer multiples of 2^-24. They
// are converted as integers, so that no float32 subnormal arises; a processor that flushes subnormals would lose it.
LITE_RTSE_INLINE float widen(Float16 h) {
  const uint32_t magnitude = uint32_t(h.bits & 0x7fff) << 13;
  const uint32_t subnormal = float_to_bits(float(int32_t(h.bits & 0x3ff)) * 0x1p-24f);
  const uint32_t normal = magnitude + (112u << 23);
  const uint32_t finite = (h.bits & 0x7c00) == 0 ? subnormal : normal;
  const uint32_t bits = (h.bits & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000u : finite;
  return bits_to_float(bits | (uint32_t(h.bits & 0x8000) << 16));
}

// Rounds to nearest, ties to even. It adds half a unit in the last kept place, and subtracts one if that place is even.
LITE_RTSE_INLINE BFloat16 narrow_bfloat16(float x) {
  const uint32_t u = float_to_bits(x);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
  const uint32_t nan = (u >> 16) | 0x40;
  return {uint16_t((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
}

// Normal halves are rounded as above after the exponent bias is changed. Subnormal halves are rounded by adding 0.5,
// whose last place is 2^-24, the smallest half. From 65520 on the result is infinite.
LITE_RTSE_INLINE Float16 narrow_float16(float x) {
  const uint32_t u = float_to_bits(x) & 0x7fffffffu;
  const uint32_t sign = (float_to_bits(x) >> 16) & 0x8000u;
  const uint32_t normal = (u - 0x38000000u + 0xfffu + ((u >> 13) & 1)) >> 13;
  const uint32_t subnormal = float_to_bits(bits_to_float(u) + 0.5f) - 0x3f000000u;
  const uint32_t finite = u < 0x38800000u ? subnormal : normal;
  const uint32_t large = u > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return {uint16_t((u < 0x477ff000u ? finite : large) | sign)};
}

LITE_RTSE_INLINE float widen(float x) { return x; }
LITE_RTSE_INLINE double widen(double x) { return x; }
LITE_RTSE_INLINE void narrow(float x, float& to) { to = x; }
LITE_RTSE_INLINE void narrow(double x, double& to) { to = x; }
LITE_RTSE_INLINE void narrow(float x, BFloat16& to) { to = narrow_bfloat16(x); }
LITE_RTSE_INLINE void narrow(float x, Float16& to) { to = narrow_float16(x); }

// Converts n elements, `stride` apart in memory, to or from a row of T.
template <class T, class Stored>
void read_row(const Stored* from, int64_t stride, int64_t n, T* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = widen(from[i * stride]);
}
template <class T, class Stored>
void write_row(const T* from, int64_t stride, int64_t n, Stored* to) {
  for (int64_t i = 0; i < n; ++i) narrow(from[i], to[i * stride]);
}

// Computation uses T = double for float64 tensors and T = float for all others.
template <class T>
constexpr bool stored_as(DType dtype) {
  return sizeof(T) == 8 ? dtype == DType::f64 : dtype == DType::f32;
}

// n elements of a stored tensor from `offset` on, as T.
template <class T>
void read_elements(const void* data, DType dtype, int64_t offset, T* to, int64_t n, int64_t stride = 1) {
  if (stored_as<T>(dtype)) {
    const T* from = static_cast<const T*>(data) + offset;
    if (stride == 1) return read_row(from, 1, n, to);  // constant strides vectorize; spectrograms have stride 2
    if (stride == 2) return read_row(from, 2, n, to);
    return read_row(from, stride, n, to);
  }
  if constexpr (sizeof(T) == 4) {
    if (dtype == DType::bf16) read_row(static_cast<const BFloat16*>(data) + offset, stride, n, to);
    if (dtype == DType::f16) read_row(static_cast<const Float16*>(data) + offset, stride, n, to);
  }
}
template <class T>
void write_elements(void* data, DType dtype, int64_t offset, const T* from, int64_t n, int64_t stride = 1) {
  if (stored_as<T>(dtype)) {
    T* to = static_cast<T*>(data) + offset;
    if (stride == 1) return write_row(from, 1, n, to);
    if (stride == 2) return write_row(from, 2, n, to);
    return write_row(from, stride, n, to);
  }
  if constexpr (sizeof(T) == 4) {
    if (dtype == DType::bf16) write_row(from, stride, n, static_cast<BFloat16*>(data) + offset);
    if (dtype == DType::f16) write_row(from, stride, n, static_cast<Float16*>(data) + offset);
  }
}
