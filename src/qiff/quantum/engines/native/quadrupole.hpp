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

namespace QIFF_ISA {

// sqrt(2) times the triplet of a pair of qubits, and half the difference of 01 and 10, which is the
// singlet. Matrices that act on it are put back with half their entries.
template <class T>
struct Triplet {
  Complex<T> t[3], singlet;

  template <class Block>
  static QIFF_INLINE Triplet get(const Block& block, const Vector<T>* state) {
    const Complex<T> a = block.get(state, 0), b = block.get(state, 1), c = block.get(state, 2), d = block.get(state, 3);
    return {{d - a, {a.im + d.im, -a.re - d.re}, b + c}, {(b.re - c.re) / 2, (b.im - c.im) / 2}};
  }
  template <class Block>
  QIFF_INLINE void put(const Block& block, Vector<T>* state) const {
    const Complex<T>&x = t[0], &y = t[1];
    block.put(state, 0, {-x.re - y.im, y.re - x.im});
    block.put(state, 1, t[2] + singlet);
    block.put(state, 2, t[2] - singlet);
    block.put(state, 3, {x.re - y.im, x.im + y.re});
  }
};

template <class T, Layout kLayout>
class Quadrupole {
 public:
  using V = Vector<T>;
  using C = Complex<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;

  // Of one part of the matrix.
  struct Functions {
    V n_parts;
    Exponential<T> series;

    Functions(In angles, int order) {
      const Matrix<V> whole = traceless(symmetric(angles, fill<T>(1)));
      const V p = invariant_p(square(whole));
      T largest = 0;
      for (int l = 0; l < kLanes<T>; ++l) largest = p[l] > largest ? p[l] : largest;
      const T bound = 2 * std::sqrt(largest / 3);  // of eigenvalues
      const int parts = 1 + int(2 * bound / kLargest<T>);
      n_parts = fill<T>(T(parts));
      const V part = fill<T>(T(1) / parts);
      const V d = part * part * part * determinant(whole);
      if (order == 0) series.template set<0>(part * part * p, d, bound / parts);
      if (order == 1) series.template set<1>(part * part * p, d, bound / parts);
      if (order == 2) series.template set<2>(part * part * p, d, bound / parts);
    }
  };

  Quadrupole(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles, const Functions& f)
      : space_(space), bit_(gate.bit), other_(gate.other), n_parts_(int(f.n_parts[0])), part_(1 / f.n_parts),
        q_(symmetric(angles, part_)), series_(f.series) {}

  void forward(const V* from, V* to) const { act(power(matrix<V>(evaluate(q_))), from, to); }
  void backward(V* state) const { act(adjoint(power(matrix<V>(evaluate(q_)))), state, state); }
  void forward_tangent(Moving<V> from, Moving<V> to, In along) const {
    act(power(matrix<Dual<T>>(evaluate(dual(along)))), from, to);
  }
  void backward_tangent(Moving<V> at, In along) const {
    act(adjoint(power(matrix<Dual<T>>(evaluate(dual(along))))), at, at);
  }
  void derivative(const V* left, const V* psi, Out out) const {
    Matrix<C> sum = {};
    const T weight = each([&](const auto& block) QIFF_INLINED {
      add_overlap(sum, Triplet<T>::get(block, left), Triplet<T>::get(block, psi));
    });
    Matrix<ComplexOf<V>> overlap;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) overlap[i][j] = {total(sum[i][j].re, weight), total(sum[i][j].im, weight)};
    const Expanded<V> e = evaluate(q_);
    write(out, gradient<V>(e, of_part(overlap, matrix<V>(e))));
  }
  void derivative_tangent(Moving<V> left, Moving<V> psi, In along, Out out) const {
    Matrix<C> value = {}, slope = {};
    const T weight = each([&](const auto& block) QIFF_INLINED {
      const Triplet<T> l = Triplet<T>::get(block, left.state), p = Triplet<T>::get(block, psi.state);
      add_overlap(value, l, p);
      add_overlap(slope, l, Triplet<T>::get(block, psi.tangent));
      add_overlap(slope, Triplet<T>::get(block, left.tangent), p);
    });
    Matrix<ComplexOf<Dual<T>>> overlap;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j)
        overlap[i][j] = {{total(value[i][j].re, weight), total(slope[i][j].re, weight)},
                         {total(value[i][j].im, weight), total(slope[i][j].im, weight)}};
    const Expanded<Dual<T>> e = evaluate(dual(along));
    const Matrix<Dual<T>> g = gradient<Dual<T>>(e, of_part(overlap, matrix<Dual<T>>(e)));
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

  template <class Function>
  QIFF_INLINE T each(Function&& function) const {
    return space_.template each<2>({bit_, other_}, function);
  }
  // Half of the sum over the lanes of one circuit, for one of the parts.
  QIFF_INLINE V total(V sum, T weight) const { return weight / 2 * part_ * space_.total(sum); }

  static Matrix<V> symmetric(In angles, V part) {
    const V xx = part * angles[0], xy = part * angles[1], xz = part * angles[2];
    const V yy = part * angles[3], yz = part * angles[4], zz = part * angles[5];
    return {{{xx, xy, xz}, {xy, yy, yz}, {xz, yz, zz}}};
  }
  // The gradient in the six entries: those off the diagonal stand for two.
  static void write(Out out, const Matrix<V>& g) {
    const int row[] = {0, 0, 0, 1, 1, 2}, column[] = {0, 1, 2, 1, 2, 2};
    for (int k = 0; k < 6; ++k)
      out.set(k, T(row[k] == column[k] ? 2 : 4) * g[row[k]][column[k]]);
  }
  Matrix<Dual<T>> dual(In along) const {
    const Matrix<V> u = symmetric(along, part_);
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

  Expanded<V> evaluate(const Matrix<V>& q) const {
    Expanded<V> e = invariants(q);
    for (int k = 0; k < 3; ++k) {
      const Jet<T>&re = series_.re[k], &im = series_.im[k];
      e.h[k] = {re[0], im[0]}, e.h_p[k] = {re[1], im[1]}, e.h_d[k] = {re[2], im[2]};
    }
    return e;
  }
  Expanded<Dual<T>> evaluate(const Matrix<Dual<T>>& q) const {
    Expanded<Dual<T>> e = invariants(q);
    const V p = e.p.slope, d = determinant(e.y).slope;
    const auto along = [&](const Jet<T>& f, int k, V in_p, V in_d) { return Dual<T>{f[k], in_p * p + in_d * d}; };
    for (int k = 0; k < 3; ++k)
      for (int part = 0; part < 2; ++part) {
        const Jet<T>& f = part ? series_.im[k] : series_.re[k];
        const auto of = [&](ComplexOf<Dual<T>>& z) -> Dual<T>& { return part ? z.im : z.re; };
        of(e.h[k]) = along(f, 0, f[1], f[2]);
        of(e.h_p[k]) = along(f, 1, 2 * f[3], f[4]);
        of(e.h_d[k]) = along(f, 2, f[4], 2 * f[5]);
      }
    return e;
  }
  template <class R>
  static Expanded<R> invariants(const Matrix<R>& q) {
    Expanded<R> e;
    e.y = traceless(q);
    e.square = square(e.y);
    e.p = invariant_p(e.square);
    e.phase = phase(trace(q));
    return e;
  }

  // The matrix of one part, phase (h0 + h1 Y + h2 Y^2).
  template <class R>
  static Matrix<ComplexOf<R>> matrix(const Expanded<R>& e) {
    Matrix<ComplexOf<R>> m;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) {
        ComplexOf<R> sum = e.y[i][j] * e.h[1] + e.square[i][j] * e.h[2];
        if (i == j) sum = sum + e.h[0];
        m[i][j] = m[j][i] = e.phase * sum;
      }
    return m;
  }
  template <class R>
  Matrix<ComplexOf<R>> power(const Matrix<ComplexOf<R>>& m) const {
    Matrix<ComplexOf<R>> result = m;
    for (int part = 1; part < n_parts_; ++part) result = product(result, m);
    return result;
  }
  // The overlaps A of the states before one part and after it, sum_ij A_ij dm_ij for all parts, from
  // those after all: (sum_k m^k W m^-k) m^-1.
  template <class R>
  Matrix<ComplexOf<R>> of_part(const Matrix<ComplexOf<R>>& overlap, const Matrix<ComplexOf<R>>& m) const {
    const Matrix<ComplexOf<R>> back = adjoint(m);
    Matrix<ComplexOf<R>> sum = overlap;
    for (int part = 1; part < n_parts_; ++part) {
      sum = product(m, product(sum, back));
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) sum[i][j] = sum[i][j] + overlap[i][j];
    }
    return product(sum, back);
  }

  // d/dQ of Re sum_ij A_ij m_ij
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
  template <class R>
  static Matrix<ComplexOf<R>> adjoint(const Matrix<ComplexOf<R>>& m) {
    const R minus = number<R>(-1);
    Matrix<ComplexOf<R>> result;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) result[i][j] = {m[j][i].re, minus * m[j][i].im};
    return result;
  }
  void act(const Matrix<ComplexOf<V>>& m, const V* from, V* to) const {
    Matrix<C> half;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) half[i][j] = {m[i][j].re / 2, m[i][j].im / 2};
    each([&](const auto& block) QIFF_INLINED {
      Triplet<T> p = Triplet<T>::get(block, from);
      transform(p, half);
      p.put(block, to);
    });
  }
  void act(const Matrix<ComplexOf<Dual<T>>>& m, Moving<V> from, Moving<V> to) const {
    Matrix<C> half, slope;
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        half[i][j] = {m[i][j].re.value / 2, m[i][j].im.value / 2};
        slope[i][j] = {m[i][j].re.slope / 2, m[i][j].im.slope / 2};
      }
    each([&](const auto& block) QIFF_INLINED {
      Triplet<T> p = Triplet<T>::get(block, from.state), t = Triplet<T>::get(block, from.tangent);
      transform(t, half);
      for (int i = 0; i < 3; ++i)
        t.t[i] = t.t[i] + slope[i][0] * p.t[0] + slope[i][1] * p.t[1] + slope[i][2] * p.t[2];
      transform(p, half);
      p.put(block, to.state);
      t.put(block, to.tangent);
    });
  }
  static QIFF_INLINE void transform(Triplet<T>& p, const Matrix<C>& m) {
    C result[3];
    for (int i = 0; i < 3; ++i) result[i] = m[i][0] * p.t[0] + m[i][1] * p.t[1] + m[i][2] * p.t[2];
    for (int i = 0; i < 3; ++i) p.t[i] = result[i];
  }
  static QIFF_INLINE void add_overlap(Matrix<C>& to, const Triplet<T>& left, const Triplet<T>& right) {
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) to[i][j] = to[i][j] + conjugate<T>(left.t[i]) * right.t[j];
  }

  const Register<T, kLayout>& space_;
  int bit_, other_;
  int n_parts_;
  V part_;
  Matrix<V> q_;
  const Exponential<T>& series_;
};

}  // namespace QIFF_ISA
