// Vectors of lanes, and the functions of angles that gates need, all lanes at once.
//
// This header is compiled once for every instruction set; QIFF_ISA names the namespace and
// QIFF_BYTES the width of a vector register. Nothing here may use a standard template: the
// linker would merge its copies across instruction sets.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define QIFF_INLINED __attribute__((always_inline))
#define QIFF_INLINE inline QIFF_INLINED

namespace QIFF_ISA {

template <class T>
struct Traits;

template <>
struct Traits<double> {
  using Integer = int64_t;
  static constexpr int kWide = 13, kNarrow = 11, kExponential = 33;  // terms of series
  static constexpr double kEpsilon = 1e-17;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kReducible = 1e6, kLargest = 1e150;  // squares must not overflow
  static constexpr double kPi[3] = {2 * 1.57079632673412561417e+00, 2 * 6.07710050630396597660e-11,
                                    2 * 2.02226624879595063154e-21};
};

template <>
struct Traits<float> {
  using Integer = int32_t;
  static constexpr int kWide = 9, kNarrow = 7, kExponential = 21;
  static constexpr float kEpsilon = 1e-8f;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kReducible = 8e3f, kLargest = 1e18f;
  static constexpr float kPi[3] = {3.140625f, 9.67502593994140625e-4f, 1.509957990978376432e-7f};
};

template <class T>
constexpr int kLanes = QIFF_BYTES / sizeof(T);

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(QIFF_BYTES)));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
using Integers = Vector<typename Traits<T>::Integer>;

template <class T>
QIFF_INLINE Vector<T> fill(T value) {
  return Vector<T>{} + value;
}

template <class T>
QIFF_INLINE Vector<T> permute(Vector<T> value, Integers<T> index) {
#if defined(__clang__)
  Vector<T> moved;
  for (int l = 0; l < kLanes<T>; ++l) moved[l] = value[index[l]];
  return moved;
#else
  return __builtin_shuffle(value, index);
#endif
}

// Of two vectors the lanes of these indices, those of the second counted after those of the first.
template <class T>
QIFF_INLINE Vector<T> merged(Vector<T> a, Vector<T> b, Integers<T> index) {
#if defined(__clang__)
  Vector<T> result;
  for (int l = 0; l < kLanes<T>; ++l) result[l] = index[l] < kLanes<T> ? a[index[l]] : b[index[l] - kLanes<T>];
  return result;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// A square of vectors, transposed: row r has lane r of all.
template <class T, int kStep = kLanes<T> / 2>
QIFF_INLINE void transpose(Vector<T> (&rows)[kLanes<T>]) {
  Integers<T> low, high;
#pragma GCC unroll 16
  for (int l = 0; l < kLanes<T>; ++l) {
    low[l] = l & kStep ? kLanes<T> + l - kStep : l;
    high[l] = l & kStep ? kLanes<T> + l : l + kStep;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kLanes<T>; ++r) {
    if (r & kStep) continue;
    const Vector<T> a = rows[r], b = rows[r + kStep];
    rows[r] = merged<T>(a, b, low), rows[r + kStep] = merged<T>(a, b, high);
  }
  if constexpr (kStep > 1) transpose<T, kStep / 2>(rows);
}

template <class T>
QIFF_INLINE T sum(Vector<T> value) {
  T total = 0;
  for (int l = 0; l < kLanes<T>; ++l) total += value[l];
  return total;
}

// Whether a mask is set in some lane.
template <class T>
QIFF_INLINE bool any(Integers<T> mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
  typename Traits<T>::Integer found = 0;
  for (int l = 0; l < kLanes<T>; ++l) found |= mask[l];
  return found != 0;
#endif
}

// The first terms of sum_k scale * ratio^k * f(k) * x^k / (2k + shift)!, f(k) = k + 1 for a slope.
template <class T, int kTerms>
struct Series {
  T coefficients[kTerms];

  constexpr Series(double scale, double ratio, int shift, bool slope = false) : coefficients{} {
    double factorial = 1;
    for (int n = 2; n <= shift; ++n) factorial *= n;
    for (int k = 0; k < kTerms; ++k) {
      coefficients[k] = T(scale * (slope ? k + 1 : 1) / factorial);
      scale *= ratio;
      factorial *= (2 * k + shift + 1) * (2 * k + shift + 2);
    }
  }

  QIFF_INLINE Vector<T> operator()(Vector<T> x) const {
    Vector<T> value = fill<T>(coefficients[kTerms - 1]);
    for (int k = kTerms - 2; k >= 0; --k) value = value * x + coefficients[k];
    return value;
  }
};

// cos(t/2) and sin(t/2)/t as functions of x = t^2, by their series: for x < kSeries.
template <class T>
struct Half {
  Vector<T> cosine, ratio;
};
template <class T>
constexpr T kSeries = 16;
template <class T>
QIFF_INLINE Half<T> half_series(Vector<T> x) {
  constexpr Series<T, Traits<T>::kWide> cosine(1, -0.25, 0), ratio(0.5, -0.25, 1);
  return {cosine(x), ratio(x)};
}

template <class T>
struct Angle {
  Vector<T> cosine, sine;
};

// Angles too large to reduce in working precision: lane by lane.
template <class T>
__attribute__((noinline)) Angle<T> cosine_and_sine_of_huge(Vector<T> angle) {
  Angle<T> result;
  for (int l = 0; l < kLanes<T>; ++l) {
    result.cosine[l] = T(std::cos(double(angle[l])));
    result.sine[l] = T(std::sin(double(angle[l])));
  }
  return result;
}

// cos and sin of an angle: reduced to |r| <= pi/2, where x = (2r)^2 < kSeries.
template <class T>
QIFF_INLINE Angle<T> cosine_and_sine(Vector<T> angle) {
  using Traits = Traits<T>;
  if (__builtin_expect(any<T>((angle > Traits::kReducible) | (angle < -Traits::kReducible)), 0))
    return cosine_and_sine_of_huge<T>(angle);
  const Vector<T> rounded = angle * T(1 / 3.14159265358979323846) + Traits::kRound;
  const Vector<T> turns = rounded - Traits::kRound;
  Vector<T> rest = angle - turns * Traits::kPi[0];
  rest -= turns * Traits::kPi[1];
  rest -= turns * Traits::kPi[2];
  const Half<T> half = half_series<T>(4 * rest * rest);
  Integers<T> bits;
  __builtin_memcpy(&bits, &rounded, sizeof bits);
  const Integers<T> odd = (bits & 1) != 0;
  return {odd ? -half.cosine : half.cosine, (odd ? -2 * rest : 2 * rest) * half.ratio};
}

template <class T>
QIFF_INLINE Vector<T> root(Vector<T> value) {
  Vector<T> result;
  for (int l = 0; l < kLanes<T>; ++l) result[l] = std::sqrt(value[l]);
  return result;
}

// cos(t/2) and sin(t/2)/t for any x = t^2.
template <class T>
QIFF_INLINE Half<T> half(Vector<T> x) {
  const Half<T> near = half_series<T>(x);
  const Integers<T> far = x >= kSeries<T>;
  if (__builtin_expect(!any<T>(far), 1)) return near;
  const Vector<T> length = root<T>(x);
  const Angle<T> exact = cosine_and_sine<T>(length / 2);
  return {far ? exact.cosine : near.cosine, far ? exact.sine / length : near.ratio};
}

// A = (1 - cos t)/t^2 and B = (t - sin t)/t^3, the functions of x = t^2 in the Jacobian of a
// rotation, and their derivatives in x.
template <class T>
struct Jacobian {
  Vector<T> a, b, slope_a, slope_b;
};
template <class T>
QIFF_INLINE Jacobian<T> jacobian(Vector<T> x, Half<T> half) {
  constexpr Series<T, Traits<T>::kNarrow> b_of(1, -1, 3), slope_a(-1, -1, 4, true),
      slope_b(-1, -1, 5, true);
  const Jacobian<T> near{2 * half.ratio * half.ratio, b_of(x), slope_a(x), slope_b(x)};
  const Integers<T> far = x >= T(4);
  if (__builtin_expect(!any<T>(far), 1)) return near;
  const Vector<T> b = far ? (1 - 2 * half.ratio * half.cosine) / x : near.b;
  return {near.a, b, far ? (half.ratio * half.cosine - near.a) / x : near.slope_a,
          far ? (near.a - 3 * b) / (2 * x) : near.slope_b};
}

}  // namespace QIFF_ISA
