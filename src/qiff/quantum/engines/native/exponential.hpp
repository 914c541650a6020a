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

// to += a b and to -= a b, in multiplications with additions alone.
template <class V>
QIFF_INLINE void add_product(V& to, V a, V b) {
  to += a * b;
}
template <class V>
QIFF_INLINE void subtract_product(V& to, V a, V b) {
  to -= a * b;
}
template <class T>
QIFF_INLINE void add_product(Dual<T>& to, Dual<T> a, Dual<T> b) {
  to.value += a.value * b.value;
  to.slope += a.value * b.slope;
  to.slope += a.slope * b.value;
}
template <class T>
QIFF_INLINE void subtract_product(Dual<T>& to, Dual<T> a, Dual<T> b) {
  to.value -= a.value * b.value;
  to.slope -= a.value * b.slope;
  to.slope -= a.slope * b.value;
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
QIFF_INLINE ComplexOf<R> operator*(R a, ComplexOf<R> b) {
  return {a * b.re, a * b.im};
}
template <class R>
QIFF_INLINE ComplexOf<R> operator*(ComplexOf<R> a, ComplexOf<R> b) {
  ComplexOf<R> c = a.re * b;
  subtract_product(c.re, a.im, b.im);
  add_product(c.im, a.im, b.re);
  return c;
}
template <class R>
QIFF_INLINE void add_product(ComplexOf<R>& to, R a, ComplexOf<R> b) {
  add_product(to.re, a, b.re);
  add_product(to.im, a, b.im);
}
template <class R>
QIFF_INLINE void add_product(ComplexOf<R>& to, ComplexOf<R> a, ComplexOf<R> b) {
  add_product(to, a.re, b);
  subtract_product(to.re, a.im, b.im);
  add_product(to.im, a.im, b.re);
}
// to += a times the conjugate of b
template <class R>
QIFF_INLINE void add_product_back(ComplexOf<R>& to, ComplexOf<R> a, ComplexOf<R> b) {
  add_product(to.re, a.re, b.re);
  add_product(to.re, a.im, b.im);
  add_product(to.im, a.im, b.re);
  subtract_product(to.im, a.re, b.im);
}
template <class Number>
struct Matrix {
  Number of[3][3];

  QIFF_INLINE Number* operator[](int i) { return of[i]; }
  QIFF_INLINE const Number* operator[](int i) const { return of[i]; }
};

// An entry of the product of two matrices.
template <class A, class B>
QIFF_INLINE auto entry(const Matrix<A>& a, const Matrix<B>& b, int i, int j) {
  auto sum = a[i][0] * b[0][j];
  add_product(sum, a[i][1], b[1][j]);
  add_product(sum, a[i][2], b[2][j]);
  return sum;
}
template <class A, class B>
QIFF_INLINE auto product(const Matrix<A>& a, const Matrix<B>& b) {
  Matrix<decltype(a[0][0] * b[0][0])> c;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) c[i][j] = entry(a, b, i, j);
  return c;
}

// The product with the adjoint of a symmetric matrix.
template <class R>
QIFF_INLINE void product_back(Matrix<ComplexOf<R>>& c, const Matrix<ComplexOf<R>>& a, const Matrix<ComplexOf<R>>& b) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      ComplexOf<R> sum{};
      for (int k = 0; k < 3; ++k) add_product_back(sum, a[i][k], b[k][j]);
      c[i][j] = sum;
    }
}

// The square of a symmetric matrix.
template <class A>
QIFF_INLINE void square(Matrix<A>& c, const Matrix<A>& a) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j <= i; ++j) c[i][j] = c[j][i] = entry(a, a, i, j);
}

// A function of p and d to second order: its Taylor coefficients of 1, p, d, p^2, pd, d^2.
template <class T>
using Jet = Vector<T>[6];
constexpr int kJetSize[] = {1, 3, 6};  // up to an order

// The real and the imaginary part of (2i)^n / n!
template <class T>
struct Weights {
  static constexpr int kSize = Traits<T>::kExponential;
  T of[2][kSize];

  constexpr Weights() : of{} {
    double weight = 1;
    for (int n = 0; n < kSize; ++n) {
      of[n % 2][n] = T(n & 2 ? -weight : weight);
      weight *= 2.0 / (n + 1);
    }
  }
};
template <class T>
constexpr Weights<T> kWeights{};

// The coefficients h of exp(2 i Y), for |2 Y| <= kLargest.
template <class T>
constexpr T kLargest = 3;
template <class T>
struct Exponential {
  Jet<T> re[3], im[3];

  // To an order of derivatives, for eigenvalues of at most `bound`: the remainder of the series in
  // Y divided by Y^3 - p Y - d, from its last term on.
  template <int kOrder>
  void set(Vector<T> p, Vector<T> d, T bound) {
    Jet<T> rest[3][2];
    for (int k = 0; k < 3; ++k)
      for (int c = 0; c < kJetSize[kOrder]; ++c) rest[k][0][c] = rest[k][1][c] = Vector<T>{};
    for (int n = n_terms(bound, kOrder) - 3; n > 0; n -= 3)
      for (int k = 2; k >= 0; --k) divide<kOrder>(rest[k], rest[(k + 2) % 3], p, d, n + k, 1);
    for (int k = 2; k >= 0; --k) divide<kOrder>(rest[k], rest[(k + 2) % 3], k ? p : Vector<T>{}, d, k, k > 0);
    for (int k = 0; k < 3; ++k)
      for (int c = 0; c < kJetSize[kOrder]; ++c) re[k][c] = rest[k][0][c], im[k][c] = rest[k][1][c];
  }

 private:
  // A multiple of three. A derivative in p or d takes two or three powers of Y from a term.
  static int n_terms(T bound, int order) {
    int n = 3 * order + 3;
    T power = bound;
    const auto size = [&] { return n * n * std::abs(kWeights<T>.of[n % 2][n]) * power; };
    for (; n < Weights<T>::kSize && size() > Traits<T>::kEpsilon; ++n) power *= bound;
    return (n + 2) / 3 * 3;
  }
  // third <- weight of a term + p second + d third
  template <int kOrder>
  static QIFF_INLINE void divide(Jet<T> (&third)[2], const Jet<T> (&second)[2], Vector<T> p, Vector<T> d, int term,
                                 T in_p) {
    for (int part = 0; part < 2; ++part) {
      Jet<T>& t = third[part];
      const Jet<T>& s = second[part];
      if constexpr (kOrder > 1) {
        t[5] = p * s[5] + d * t[5] + t[2];
        t[4] = p * s[4] + d * t[4] + in_p * s[2] + t[1];
        t[3] = p * s[3] + d * t[3] + in_p * s[1];
      }
      if constexpr (kOrder > 0) {
        t[2] = p * s[2] + d * t[2] + t[0];
        t[1] = p * s[1] + d * t[1] + in_p * s[0];
      }
      t[0] = p * s[0] + d * t[0] + kWeights<T>.of[part][term];
    }
  }
};

}  // namespace QIFF_ISA
