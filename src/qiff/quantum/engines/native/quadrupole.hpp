// The quadrupole gate exp(-i sigma.Q.sigma) of two qubits, Q a symmetric 3x3 matrix.
//
// It leaves the singlet alone up to a phase and acts on the triplet, in the Cartesian basis
//   t_x = (-|00> + |11>)/sqrt(2), t_y = i (|00> + |11>)/sqrt(2), t_z = (|01> + |10>)/sqrt(2),
// as M = exp(2 i Q - 2 i tr Q). With Y = Q - tr Q/3 and its characteristic polynomial
// Y^3 = p Y + d, where p = tr(Y^2)/2 and d = det Y,
//   M = exp(-4 i tr Q/3) (h0 + h1 Y + h2 Y^2)
// whose coefficients h are entire functions of p and d. Their series, and the series of their
// derivatives, follow from Y^(n+1) = Y Y^n. A gate with a large Q is applied as several with a
// part of it each: squaring the polynomial instead would lose all digits.
#pragma once

#include "exponential.hpp"
#include "gates.hpp"

namespace QIFF_ISA {

// The triplet of a pair of qubits, and half the difference of 01 and 10, which is the singlet.
template <class T>
struct Triplet {
  Complex<T> t[3], singlet;

  template <class Block>
  static QIFF_INLINE Triplet get(const Block& block, const Vector<T>* state) {
    const T r = T(0.70710678118654752440);
    const Complex<T> a = block.get(state, 0), b = block.get(state, 1), c = block.get(state, 2), d = block.get(state, 3);
    return {{{r * (d.re - a.re), r * (d.im - a.im)}, {r * (a.im + d.im), -r * (a.re + d.re)}, {r * (b.re + c.re), r * (b.im + c.im)}},
            {(b.re - c.re) / 2, (b.im - c.im) / 2}};
  }
  template <class Block>
  QIFF_INLINE void put(const Block& block, Vector<T>* state) const {
    const T r = T(0.70710678118654752440);
    const Complex<T>&x = t[0], &y = t[1];
    const Complex<T> z{r * t[2].re, r * t[2].im};
    block.put(state, 0, {-r * (x.re + y.im), r * (y.re - x.im)});
    block.put(state, 1, z + singlet);
    block.put(state, 2, z - singlet);
    block.put(state, 3, {r * (x.re - y.im), r * (x.im + y.re)});
  }
};

template <class T, Layout kLayout>
class Quadrupole {
 public:
  using V = Vector<T>;
  using C = Complex<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;

  Quadrupole(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles)
      : space_(space), bit_(gate.bit), other_(gate.other) {
    const Matrix<V> y = traceless(symmetric(angles));
    const V p = invariant_p(product(y, y));
    T largest = 0;
    for (int l = 0; l < kLanes<T>; ++l) largest = p[l] > largest ? p[l] : largest;
    // an eigenvalue of Y is at most 2 sqrt(p/3)
    n_parts_ = 1 + int(4 * std::sqrt(largest / 3) / kLargest<T>);
    q_ = symmetric(angles);
  }

  void forward(V* psi) const {
    const Matrix<C> m = matrix<V>(evaluate<0>(q_));
    each([&](const auto& block) {
      Triplet<T> p = Triplet<T>::get(block, psi);
      act(p, m, p.t);
      p.put(block, psi);
    });
  }
  void forward_tangent(V* psi, V* tangent, In along) const {
    Matrix<C> m, slope;
    split(matrix<Dual<T>>(evaluate<1>(dual(along))), m, slope);
    each([&](const auto& block) {
      Triplet<T> p = Triplet<T>::get(block, psi), t = Triplet<T>::get(block, tangent);
      act(t, m, t.t);
      add(t, slope, p.t);
      act(p, m, p.t);
      p.put(block, psi);
      t.put(block, tangent);
    });
  }
  void backward(V* left, V* psi, Out out) const {
    const Expanded<V> e = evaluate<1>(q_);
    const Matrix<C> back = adjoint(matrix<V>(e));
    Matrix<C> overlap = {};
    const T weight = each([&](const auto& block) {
      Triplet<T> l = Triplet<T>::get(block, left), p = Triplet<T>::get(block, psi);
      act(p, back, p.t);
      add_overlap(overlap, l, p);
      act(l, back, l.t);
      l.put(block, left);
      p.put(block, psi);
    });
    write(out, gradient<V>(e, total(overlap, weight)));
  }
  void backward_tangent(V* left, V* shift, V* psi, V* tangent, In along, Out out) const {
    const Expanded<Dual<T>> e = evaluate<2>(dual(along));
    Matrix<C> m, slope;
    split(matrix<Dual<T>>(e), m, slope);
    const Matrix<C> back = adjoint(m), slope_back = adjoint(slope);
    Matrix<C> first = {}, second = {};
    const T weight = each([&](const auto& block) {
      Triplet<T> l = Triplet<T>::get(block, left), s = Triplet<T>::get(block, shift);
      Triplet<T> p = Triplet<T>::get(block, psi), t = Triplet<T>::get(block, tangent);
      act(p, back, p.t);
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) t.t[i] = t.t[i] - slope[i][j] * p.t[j];
      act(t, back, t.t);
      add_overlap(first, l, p);
      add_overlap(second, l, t);
      add_overlap(second, s, p);
      act(s, back, s.t);
      add(s, slope_back, l.t);
      act(l, back, l.t);
      l.put(block, left);
      s.put(block, shift);
      p.put(block, psi);
      t.put(block, tangent);
    });
    const Matrix<Dual<T>> g = gradient<Dual<T>>(e, dual(total(first, weight), total(second, weight)));
    Matrix<V> slopes;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) slopes[i][j] = g[i][j].slope;
    write(out, slopes);
  }

 private:
  // h and its first derivatives in p and d, with what they belong to, as numbers or dual numbers.
  template <class R>
  struct Expanded {
    Matrix<R> y, square;
    R p;
    ComplexOf<R> phase, h[3], h_p[3], h_d[3];
  };

  // Pass over the states once for every part; returns the weight of a sum over all passes.
  template <class Function>
  QIFF_INLINE T each(Function&& function) const {
    T weight = 0;
    for (int part = 0; part < n_parts_; ++part) weight = space_.template each<2>({bit_, other_}, function);
    return weight / n_parts_;
  }

  // The matrix of one part.
  Matrix<V> symmetric(In angles) const {
    const V part = fill<T>(T(1) / n_parts_);
    const V xx = part * angles[0], xy = part * angles[1], xz = part * angles[2];
    const V yy = part * angles[3], yz = part * angles[4], zz = part * angles[5];
    return {{{xx, xy, xz}, {xy, yy, yz}, {xz, yz, zz}}};
  }
  // The gradient in the six entries: those off the diagonal stand for two.
  static void write(Out out, const Matrix<V>& g) {
    const int row[] = {0, 0, 0, 1, 1, 2}, column[] = {0, 1, 2, 1, 2, 2};
    for (int k = 0; k < 6; ++k)
      out.set(k, row[k] == column[k] ? 2 * g[row[k]][row[k]] : 2 * (g[row[k]][column[k]] + g[column[k]][row[k]]));
  }
  Matrix<Dual<T>> dual(In along) const {
    const Matrix<V> u = symmetric(along);
    Matrix<Dual<T>> result;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) result[i][j] = {q_[i][j], u[i][j]};
    return result;
  }

  template <class R>
  static R trace(const Matrix<R>& m) {
    return m[0][0] + m[1][1] + m[2][2];
  }
  template <class R>
  static Matrix<R> traceless(Matrix<R> m) {
    const R third = fill<T>(T(1) / 3) * trace(m);
    for (int i = 0; i < 3; ++i) m[i][i] = m[i][i] - third;
    return m;
  }
  template <class R>
  static R invariant_p(const Matrix<R>& square) {
    return fill<T>(T(0.5)) * trace(square);
  }
  template <class R>
  static R determinant(const Matrix<R>& m) {
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  }

  static ComplexOf<V> phase(V trace) {
    const Angle<T> angle = cosine_and_sine<T>(-T(4) / 3 * trace);
    return {angle.cosine, angle.sine};
  }
  static ComplexOf<Dual<T>> phase(Dual<T> trace) {
    const ComplexOf<V> e = phase(trace.value);
    const V rate = -T(4) / 3 * trace.slope;
    return {{e.re, -rate * e.im}, {e.im, rate * e.re}};
  }

  template <int kOrder>
  Expanded<V> evaluate(const Matrix<V>& q) const {
    Expanded<V> e;
    e.y = traceless(q);
    e.square = product(e.y, e.y);
    e.p = invariant_p(e.square);
    e.phase = phase(trace(q));
    const Exponential<T, kOrder> series(e.p, determinant(e.y));
    for (int k = 0; k < 3; ++k) {
      e.h[k] = {series.h[k].re.of[0], series.h[k].im.of[0]};
      if constexpr (kOrder > 0) {
        e.h_p[k] = {series.h[k].re.of[1], series.h[k].im.of[1]};
        e.h_d[k] = {series.h[k].re.of[2], series.h[k].im.of[2]};
      }
    }
    return e;
  }
  template <int kOrder>
  Expanded<Dual<T>> evaluate(const Matrix<Dual<T>>& q) const {
    Expanded<Dual<T>> e;
    e.y = traceless(q);
    e.square = product(e.y, e.y);
    e.p = invariant_p(e.square);
    e.phase = phase(trace(q));
    const Dual<T> d = determinant(e.y);
    const Exponential<T, kOrder> series(e.p.value, d.value);
    const auto along = [&](V value, V in_p, V in_d) { return Dual<T>{value, in_p * e.p.slope + in_d * d.slope}; };
    for (int k = 0; k < 3; ++k) {
      const auto& re = series.h[k].re.of;
      const auto& im = series.h[k].im.of;
      e.h[k] = {along(re[0], re[1], re[2]), along(im[0], im[1], im[2])};
      if constexpr (kOrder > 1) {
        e.h_p[k] = {along(re[1], 2 * re[3], re[4]), along(im[1], 2 * im[3], im[4])};
        e.h_d[k] = {along(re[2], re[4], 2 * re[5]), along(im[2], im[4], 2 * im[5])};
      }
    }
    return e;
  }
  // M = phase (h0 + h1 Y + h2 Y^2)
  template <class R>
  static auto matrix(const Expanded<R>& e) {
    Matrix<std::conditional_t<std::is_same_v<R, V>, C, ComplexOf<R>>> m;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) {
        ComplexOf<R> sum = e.y[i][j] * e.h[1] + e.square[i][j] * e.h[2];
        if (i == j) sum = sum + e.h[0];
        const ComplexOf<R> entry = e.phase * sum;
        m[i][j] = m[j][i] = {entry.re, entry.im};
      }
    return m;
  }
  static void split(const Matrix<ComplexOf<Dual<T>>>& m, Matrix<C>& value, Matrix<C>& slope) {
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        value[i][j] = {m[i][j].re.value, m[i][j].im.value};
        slope[i][j] = {m[i][j].re.slope, m[i][j].im.slope};
      }
  }

  // d/dQ of Re sum_ij A_ij M_ij, where A = sum of conj(left_i) right_j
  template <class R, class Overlap>
  Matrix<R> gradient(const Expanded<R>& e, const Overlap& overlap) const {
    Matrix<ComplexOf<R>> s, turned;  // the symmetric part of A, as M is symmetric; S Y
    const R half = number<R>(T(0.5));
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) s[i][j] = s[j][i] = half * (overlap[i][j] + overlap[j][i]);
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        turned[i][j] = e.y[0][j] * s[i][0] + e.y[1][j] * s[i][1] + e.y[2][j] * s[i][2];
    ComplexOf<R> s0 = s[0][0] + s[1][1] + s[2][2], s1 = turned[0][0] + turned[1][1] + turned[2][2], s2{};
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) s2 = s2 + e.y[i][j] * turned[i][j];
    const auto combine = [&](const ComplexOf<R>* h) { return e.phase * (h[0] * s0 + h[1] * s1 + h[2] * s2); };
    const R in_p = combine(e.h_p).re, in_d = combine(e.h_d).re, in_trace = number<R>(T(4) / 3) * combine(e.h).im;
    const ComplexOf<R> h1 = e.phase * e.h[1], h2 = e.phase * e.h[2];
    Matrix<R> g;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) {
        R entry = in_p * e.y[i][j] + in_d * e.square[i][j] + real(h1, s[i][j]) + real(h2, turned[i][j] + turned[j][i]);
        if (i == j) entry = entry - in_d * e.p;
        g[i][j] = g[j][i] = entry;
      }
    g = traceless(g);
    for (int i = 0; i < 3; ++i) g[i][i] = g[i][i] + in_trace;
    return g;
  }
  template <class R>
  static R real(const ComplexOf<R>& a, const ComplexOf<R>& b) {  // of the product
    return a.re * b.re - a.im * b.im;
  }
  template <class R>
  static R number(T value) {
    if constexpr (std::is_same_v<R, V>)
      return fill<T>(value);
    else
      return {fill<T>(value), V{}};
  }
  static Matrix<ComplexOf<Dual<T>>> dual(const Matrix<ComplexOf<V>>& value, const Matrix<ComplexOf<V>>& slope) {
    Matrix<ComplexOf<Dual<T>>> result;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        result[i][j] = {{value[i][j].re, slope[i][j].re}, {value[i][j].im, slope[i][j].im}};
    return result;
  }

  static Matrix<C> adjoint(const Matrix<C>& m) {
    Matrix<C> result;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) result[i][j] = conjugate<T>(m[j][i]);
    return result;
  }
  static QIFF_INLINE void act(Triplet<T>& to, const Matrix<C>& m, const C* from) {
    C result[3];
    for (int i = 0; i < 3; ++i) result[i] = m[i][0] * from[0] + m[i][1] * from[1] + m[i][2] * from[2];
    for (int i = 0; i < 3; ++i) to.t[i] = result[i];
  }
  static QIFF_INLINE void add(Triplet<T>& to, const Matrix<C>& m, const C* from) {
    for (int i = 0; i < 3; ++i)
      to.t[i] = to.t[i] + m[i][0] * from[0] + m[i][1] * from[1] + m[i][2] * from[2];
  }
  static QIFF_INLINE void add_overlap(Matrix<C>& to, const Triplet<T>& left, const Triplet<T>& right) {
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) to[i][j] = to[i][j] + conjugate<T>(left.t[i]) * right.t[j];
  }
  Matrix<ComplexOf<V>> total(const Matrix<C>& m, T weight) const {
    Matrix<ComplexOf<V>> result;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) result[i][j] = {space_.total(m[i][j].re) * weight, space_.total(m[i][j].im) * weight};
    return result;
  }

  const Register<T, kLayout>& space_;
  int bit_, other_;
  int n_parts_ = 1;
  Matrix<V> q_;
};

}  // namespace QIFF_ISA
