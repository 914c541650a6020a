// The quadrupole gate exp(-i sigma.Q.sigma) of two qubits, Q a symmetric 3x3 matrix.
//
// It leaves the singlet alone up to a phase and acts on the triplet, in the Cartesian basis
//   t_x = (-|00> + |11>)/sqrt(2), t_y = i (|00> + |11>)/sqrt(2), t_z = (|01> + |10>)/sqrt(2),
// as M = exp(2 i Q - 2 i tr Q). With Y = Q - tr Q/3 and its characteristic polynomial
// Y^3 = p Y + d, where p = tr(Y^2)/2 and d = det Y,
//   M = exp(-4 i tr Q/3) (h0 + h1 Y + h2 Y^2)
// whose coefficients h are entire functions of p and d. Their series, and the series of their
// derivatives, follow from Y^3 = p Y + d. If Q is large, M is a power of the matrix of a part of it:
// the series itself, or squares of the polynomial, would lose all digits.
#pragma once

#include "exponential.hpp"
#include "gates.hpp"
#include "triplet.hpp"

namespace QIFF_ISA {

template <class T, Layout kLayout>
class Quadrupole {
 public:
  using V = Vector<T>;
  using C = Complex<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;

  struct Functions {
    V n_parts;
    Exponential<T> series;  // of one part of the matrix
    Entries<T> whole;       // of M, and their derivatives along the direction

    Functions(In angles, In along, int order) {
      Matrix<V> all = symmetric(angles, fill<T>(1)), squared;
      make_traceless(all);
      square(squared, all);
      const V p = invariant_p(squared);
      T largest = 0;
      for (int l = 0; l < kLanes<T>; ++l) largest = p[l] > largest ? p[l] : largest;
      const T bound = 2 * std::sqrt(largest / 3);  // of eigenvalues
      const int parts = 1 + int(2 * bound / kLargest<T>);
      n_parts = fill<T>(T(parts));
      const V part = fill<T>(T(1) / parts);
      const V d = part * part * part * determinant(all);
      if (order == 0) series.template set<0>(part * part * p, d, bound / parts);
      if (order == 1) series.template set<1>(part * part * p, d, bound / parts);
      if (order == 2) series.template set<2>(part * part * p, d, bound / parts);
      if (order < 2)
        set(symmetric(angles, part), parts);
      else
        set(dual(symmetric(angles, part), symmetric(along, part)), parts);
    }

   private:
    template <class R>
    void set(const Matrix<R>& q, int parts) {
      Expanded<R> e;
      evaluate(e, series, q);
      Matrix<ComplexOf<R>> m;
      matrix(m, e);
      if (parts > 1) raise(m, parts);
      whole.set(m);
    }
  };

  Quadrupole(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles, const Functions& f)
      : space_(space), bit_(gate.bit), other_(gate.other), n_parts_(int(f.n_parts[0])), angles_(angles), f_(f) {}

  void forward(const V* from, V* to) const { act<false>(from, to); }
  void backward(V* state) const { act<true>(state, state); }
  void forward_tangent(Moving<V> from, Moving<V> to, In) const { act<false>(from, to); }
  void backward_tangent(Moving<V> at, In) const { act<true>(at, at); }
  void derivative(const V* left, const V* psi, Out out) const {
    Overlap<T> sum = {};
    const T weight = each([&](const auto& block) QIFF_INLINED {
      sum.add(Triplet<T>::get(block, left), Triplet<T>::get(block, psi));
    });
    const V scale = fill<T>(weight / 4 / T(n_parts_));
    const auto all = [&](V value) { return scale * space_.total(value); };
    Matrix<ComplexOf<V>> overlap;
    sum.get(overlap, all);
    write<V>(out, overlap, symmetric(angles_, 1 / f_.n_parts), [](V value) { return value; });
  }
  void derivative_tangent(Moving<V> left, Moving<V> psi, In along, Out out) const {
    Overlap<T> value = {}, slope = {};
    each([&](const auto& block) QIFF_INLINED {
      value.add(Triplet<T>::get(block, left.state), Triplet<T>::get(block, psi.state));
    });
    const T weight = each([&](const auto& block) QIFF_INLINED {
      slope.add(Triplet<T>::get(block, left.state), Triplet<T>::get(block, psi.tangent));
      slope.add(Triplet<T>::get(block, left.tangent), Triplet<T>::get(block, psi.state));
    });
    const V scale = fill<T>(weight / 4 / T(n_parts_)), part = 1 / f_.n_parts;
    const auto all = [&](V number) { return scale * space_.total(number); };
    Matrix<ComplexOf<V>> values, slopes;
    value.get(values, all), slope.get(slopes, all);
    Matrix<ComplexOf<Dual<T>>> overlap;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        overlap[i][j] = {{values[i][j].re, slopes[i][j].re}, {values[i][j].im, slopes[i][j].im}};
    write<Dual<T>>(out, overlap, dual(symmetric(angles_, part), symmetric(along, part)),
                   [](Dual<T> found) { return found.slope; });
  }

 private:
  // h and its first derivatives in p and d, with what they belong to, as numbers or dual numbers.
  template <class R>
  struct Expanded {
    Matrix<R> y, square;
    R p;
    ComplexOf<R> phase, h[3], h_p[3], h_d[3];
  };

  template <class Function>
  QIFF_INLINE T each(Function&& function) const {
    return space_.template each<2>({bit_, other_}, function);
  }

  static QIFF_INLINE Matrix<V> symmetric(In angles, V part) {
    const V xx = part * angles[0], xy = part * angles[1], xz = part * angles[2];
    const V yy = part * angles[3], yz = part * angles[4], zz = part * angles[5];
    return {{{xx, xy, xz}, {xy, yy, yz}, {xz, yz, zz}}};
  }
  // The gradient in the six entries: those off the diagonal stand for two.
  template <class R, class Number>
  void write(Out out, const Matrix<ComplexOf<R>>& overlap, const Matrix<R>& q, Number&& number) const {
    Expanded<R> e;
    evaluate(e, f_.series, q);
    Matrix<ComplexOf<R>> part;
    of_part(part, overlap, e);
    Matrix<R> g;
    gradient(g, e, part);
    for (int k = 0; k < 6; ++k) {
      const int i = Entries<T>::kRow[k], j = Entries<T>::kColumn[k];
      out.set(k, T(i == j ? 1 : 2) * number(g[j][i]));
    }
  }
  static QIFF_INLINE Matrix<Dual<T>> dual(const Matrix<V>& q, const Matrix<V>& along) {
    Matrix<Dual<T>> result;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) result[i][j] = {q[i][j], along[i][j]};
    return result;
  }

  template <class R>
  static R trace(const Matrix<R>& m) {
    return m[0][0] + m[1][1] + m[2][2];
  }
  template <class R>
  static QIFF_INLINE void make_traceless(Matrix<R>& m) {
    const R third = fill<T>(T(1) / 3) * trace(m);
    for (int i = 0; i < 3; ++i) m[i][i] = m[i][i] - third;
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

  static void evaluate(Expanded<V>& e, const Exponential<T>& series, const Matrix<V>& q) {
    invariants(e, q);
    for (int k = 0; k < 3; ++k) {
      const Jet<T>&re = series.re[k], &im = series.im[k];
      e.h[k] = {re[0], im[0]}, e.h_p[k] = {re[1], im[1]}, e.h_d[k] = {re[2], im[2]};
    }
  }
  static void evaluate(Expanded<Dual<T>>& e, const Exponential<T>& series, const Matrix<Dual<T>>& q) {
    invariants(e, q);
    const V p = e.p.slope, d = determinant(e.y).slope;
    const auto along = [&](const Jet<T>& f, int k, V in_p, V in_d) { return Dual<T>{f[k], in_p * p + in_d * d}; };
    for (int k = 0; k < 3; ++k)
      for (int part = 0; part < 2; ++part) {
        const Jet<T>& f = part ? series.im[k] : series.re[k];
        const auto of = [&](ComplexOf<Dual<T>>& z) -> Dual<T>& { return part ? z.im : z.re; };
        of(e.h[k]) = along(f, 0, f[1], f[2]);
        of(e.h_p[k]) = along(f, 1, 2 * f[3], f[4]);
        of(e.h_d[k]) = along(f, 2, f[4], 2 * f[5]);
      }
  }
  template <class R>
  static void invariants(Expanded<R>& e, const Matrix<R>& q) {
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) e.y[i][j] = q[i][j];
    make_traceless(e.y);
    square(e.square, e.y);
    e.p = invariant_p(e.square);
    e.phase = phase(trace(q));
  }

  // The matrix of one part, phase (h0 + h1 Y + h2 Y^2).
  template <class R>
  static void matrix(Matrix<ComplexOf<R>>& m, const Expanded<R>& e) {
    const ComplexOf<R> h[3] = {e.phase * e.h[0], e.phase * e.h[1], e.phase * e.h[2]};
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) {
        ComplexOf<R> sum = e.y[i][j] * h[1];
        add_product(sum, e.square[i][j], h[2]);
        m[i][j] = m[j][i] = i == j ? sum + h[0] : sum;
      }
  }
  template <class R>
  static void raise(Matrix<ComplexOf<R>>& m, int n) {
    const Matrix<ComplexOf<R>> one = m;
    for (int part = 1; part < n; ++part) m = product(m, one);
  }
  // The overlaps A of the states before one part and after it, sum_ij A_ij dm_ij for all parts, from
  // those after all: (sum_k m^k W m^-k) m^-1.
  template <class R>
  void of_part(Matrix<ComplexOf<R>>& found, const Matrix<ComplexOf<R>>& overlap, const Expanded<R>& e) const {
    Matrix<ComplexOf<R>> m;
    if (n_parts_ == 1) {
      f_.whole.get(m);
      return product_back(found, overlap, m);
    }
    matrix(m, e);
    Matrix<ComplexOf<R>> sum = overlap, turned;
    for (int part = 1; part < n_parts_; ++part) {
      product_back(turned, sum, m);
      sum = product(m, turned);
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) sum[i][j] = sum[i][j] + overlap[i][j];
    }
    product_back(found, sum, m);
  }

  // d/dQ of twice Re sum_ij A_ij m_ij
  template <class R>
  static void gradient(Matrix<R>& g, const Expanded<R>& e, const Matrix<ComplexOf<R>>& overlap) {
    Matrix<ComplexOf<R>> s;  // the symmetric part of 2 A, as M is symmetric
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) s[i][j] = s[j][i] = overlap[i][j] + overlap[j][i];
    const Matrix<ComplexOf<R>> turned = product(e.y, s);
    const ComplexOf<R> s0 = e.phase * (s[0][0] + s[1][1] + s[2][2]);
    const ComplexOf<R> s1 = e.phase * (turned[0][0] + turned[1][1] + turned[2][2]);
    ComplexOf<R> off = e.square[1][0] * s[1][0], on = e.square[0][0] * s[0][0];  // of the trace of S Y^2
    add_product(off, e.square[2][0], s[2][0]), add_product(off, e.square[2][1], s[2][1]);
    add_product(on, e.square[1][1], s[1][1]), add_product(on, e.square[2][2], s[2][2]);
    const ComplexOf<R> s2 = e.phase * (off + off + on), h1 = e.phase * e.h[1], h2 = e.phase * e.h[2];
    const auto real = [&](const ComplexOf<R>* h) {
      R sum = h[0].re * s0.re;
      add_product(sum, h[1].re, s1.re), add_product(sum, h[2].re, s2.re);
      subtract_product(sum, h[0].im, s0.im), subtract_product(sum, h[1].im, s1.im);
      return subtract_product(sum, h[2].im, s2.im), sum;
    };
    const R in_p = real(e.h_p), in_d = real(e.h_d);
    R in_trace = e.h[0].re * s0.im;
    add_product(in_trace, e.h[0].im, s0.re);
    add_product(in_trace, e.h[1].re, s1.im), add_product(in_trace, e.h[1].im, s1.re);
    add_product(in_trace, e.h[2].re, s2.im), add_product(in_trace, e.h[2].im, s2.re);
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) {
        const ComplexOf<R> both = turned[i][j] + turned[j][i];
        R entry = in_p * e.y[i][j];
        add_product(entry, in_d, e.square[i][j]);
        add_product(entry, h1.re, s[i][j].re), subtract_product(entry, h1.im, s[i][j].im);
        add_product(entry, h2.re, both.re), subtract_product(entry, h2.im, both.im);
        if (i == j) subtract_product(entry, in_d, e.p);
        g[i][j] = entry;
      }
    const R third = fill<T>(T(1) / 3) * (trace(g) - fill<T>(T(4)) * in_trace);
    for (int i = 0; i < 3; ++i) g[i][i] = g[i][i] - third;
  }
  // States go through M, or back.
  template <bool kBack>
  void act(const V* from, V* to) const {
    const HalfOf<T, kBack> m(f_.whole.value);
    each([&](const auto& block) QIFF_INLINED {
      Triplet<T> p = Triplet<T>::get(block, from);
      m.transform(p);
      p.put(block, to);
    });
  }
  template <bool kBack>
  void act(Moving<V> from, Moving<V> to) const {
    const HalfOf<T, kBack> m(f_.whole.value), slope(f_.whole.slope);
    each([&](const auto& block) QIFF_INLINED {
      Triplet<T> p = Triplet<T>::get(block, from.state), t = Triplet<T>::get(block, from.tangent);
      m.transform(t);
      slope.add(t, p);
      m.transform(p);
      p.put(block, to.state);
      t.put(block, to.tangent);
    });
  }

  const Register<T, kLayout>& space_;
  int bit_, other_;
  int n_parts_;
  In angles_;
  const Functions& f_;
};

}  // namespace QIFF_ISA
