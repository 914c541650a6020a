// Numbers with derivatives, and the exponential of a 3x3 matrix as a function of its invariants.
#pragma once

#include "lanes.hpp"

namespace QIFF_ISA {

// A number and its derivative along a direction.
template <class T>
struct Dual {
  Vector<T> value, slope;
};
template <class T>
QIFF_INLINE Dual<T> operator+(Dual<T> a, Dual<T> b) {
  return {a.value + b.value, a.slope + b.slope};
}
template <class T>
QIFF_INLINE Dual<T> operator-(Dual<T> a, Dual<T> b) {
  return {a.value - b.value, a.slope - b.slope};
}
template <class T>
QIFF_INLINE Dual<T> operator*(Dual<T> a, Dual<T> b) {
  return {a.value * b.value, a.value * b.slope + a.slope * b.value};
}
template <class T>
QIFF_INLINE Dual<T> operator*(Vector<T> a, Dual<T> b) {
  return {a * b.value, a * b.slope};
}

// Complex numbers and 3x3 matrices of any such numbers.
template <class R>
struct ComplexOf {
  R re, im;
};
template <class R>
QIFF_INLINE ComplexOf<R> operator+(ComplexOf<R> a, ComplexOf<R> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class R>
QIFF_INLINE ComplexOf<R> operator*(ComplexOf<R> a, ComplexOf<R> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class R>
QIFF_INLINE ComplexOf<R> operator*(R a, ComplexOf<R> b) {
  return {a * b.re, a * b.im};
}
template <class Number>
struct Matrix {
  Number of[3][3];

  QIFF_INLINE Number* operator[](int i) { return of[i]; }
  QIFF_INLINE const Number* operator[](int i) const { return of[i]; }
};
template <class A, class B>
QIFF_INLINE auto product(const Matrix<A>& a, const Matrix<B>& b) {
  Matrix<decltype(a[0][0] * b[0][0])> c;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) c[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
  return c;
}

// A function of p and d to second order: its Taylor coefficients of 1, p, d, p^2, pd, d^2.
template <class T, int kOrder>
struct Jet {
  static constexpr int kSize = (kOrder + 1) * (kOrder + 2) / 2;
  Vector<T> of[kSize];

  QIFF_INLINE Jet times_p(Vector<T> p) const {
    Jet result;
    for (int k = 0; k < kSize; ++k) result.of[k] = p * of[k];
    if constexpr (kOrder > 0) result.of[1] += of[0];
    if constexpr (kOrder > 1) result.of[3] += of[1], result.of[4] += of[2];
    return result;
  }
  QIFF_INLINE Jet times_d(Vector<T> d) const {
    Jet result;
    for (int k = 0; k < kSize; ++k) result.of[k] = d * of[k];
    if constexpr (kOrder > 0) result.of[2] += of[0];
    if constexpr (kOrder > 1) result.of[4] += of[1], result.of[5] += of[2];
    return result;
  }
};
template <class T, int kOrder>
QIFF_INLINE Jet<T, kOrder> operator+(const Jet<T, kOrder>& a, const Jet<T, kOrder>& b) {
  Jet<T, kOrder> result;
  for (int k = 0; k < a.kSize; ++k) result.of[k] = a.of[k] + b.of[k];
  return result;
}
// The coefficients h of exp(2 i Y), for |2 Y| <= kLargest.
template <class T>
constexpr T kLargest = 3;
template <class T, int kOrder>
struct Exponential {
  using J = Jet<T, kOrder>;
  ComplexOf<J> h[3];

  Exponential(Vector<T> p, Vector<T> d) {
    constexpr int kTerms = Traits<T>::kExponential;
    J power[3] = {}, sum[2][3] = {};  // Y^n; the real and the imaginary part of the series
    power[0].of[0] = fill<T>(1);
    T weight = 1;
    for (int n = 0; n < kTerms; ++n) {
      const Vector<T> signed_weight = fill<T>(n & 2 ? -weight : weight);
      for (int k = 0; k < 3; ++k)
        for (int c = 0; c < J::kSize; ++c) sum[n & 1][k].of[c] += signed_weight * power[k].of[c];
      const J next[3] = {power[2].times_d(d), power[0] + power[2].times_p(p), power[1]};
      for (int k = 0; k < 3; ++k) power[k] = next[k];
      weight *= T(2) / (n + 1);
    }
    for (int k = 0; k < 3; ++k) h[k] = {sum[0][k], sum[1][k]};
  }
};

}  // namespace QIFF_ISA
