// Triplets of pairs of qubits, in the Cartesian basis of quadrupole.hpp: what a symmetric matrix does to them, and
// the overlaps that its derivatives need.
#pragma once

#include "exponential.hpp"
#include "state.hpp"

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

// The six entries of M, which is symmetric, and their derivatives.
template <class T>
struct Entries {
  static constexpr int kRow[] = {0, 0, 0, 1, 1, 2}, kColumn[] = {0, 1, 2, 1, 2, 2};
  static constexpr int kAt[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};
  Complex<T> value[6], slope[6];

  void set(const Matrix<ComplexOf<Vector<T>>>& m) {
    for (int k = 0; k < 6; ++k) value[k] = {m[kRow[k]][kColumn[k]].re, m[kRow[k]][kColumn[k]].im};
  }
  void set(const Matrix<ComplexOf<Dual<T>>>& m) {
    for (int k = 0; k < 6; ++k) {
      const ComplexOf<Dual<T>>& one = m[kRow[k]][kColumn[k]];
      value[k] = {one.re.value, one.im.value}, slope[k] = {one.re.slope, one.im.slope};
    }
  }
  template <class R>
  void get(Matrix<ComplexOf<R>>& m) const {
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 3; ++j) {
        const Complex<T>&v = value[kAt[i][j]], &s = slope[kAt[i][j]];
        if constexpr (std::is_same_v<R, Vector<T>>)
          m[i][j] = {v.re, v.im};
        else
          m[i][j] = {{v.re, s.re}, {v.im, s.im}};
      }
  }
};

// Half of a symmetric matrix or, to go back, of its adjoint; acts on `Triplet`.
template <class T, bool kBack>
struct HalfOf {
  Complex<T> of[6];

  QIFF_INLINE explicit HalfOf(const Complex<T> (&entries)[6]) {
    for (int k = 0; k < 6; ++k) of[k] = {entries[k].re / 2, entries[k].im / (kBack ? -2 : 2)};
  }
  QIFF_INLINE void transform(Triplet<T>& p) const {
    Triplet<T> moved;
    for (int i = 0; i < 3; ++i) {
      const Complex<T>& first = of[Entries<T>::kAt[i][0]];
      moved.t[i] = {first.re * p.t[0].re - first.im * p.t[0].im, first.re * p.t[0].im + first.im * p.t[0].re};
      add<1>(moved, p, i);
    }
    for (int i = 0; i < 3; ++i) p.t[i] = moved.t[i];
  }
  // to += M from
  QIFF_INLINE void add(Triplet<T>& to, const Triplet<T>& from) const {
    for (int i = 0; i < 3; ++i) add<0>(to, from, i);
  }

 private:
  template <int kFirst>
  QIFF_INLINE void add(Triplet<T>& to, const Triplet<T>& from, int i) const {
    for (int j = kFirst; j < 3; ++j) {
      const Complex<T>& m = of[Entries<T>::kAt[i][j]];
      to.t[i].re += m.re * from.t[j].re;
      to.t[i].im += m.re * from.t[j].im;
      to.t[i].re -= m.im * from.t[j].im;
      to.t[i].im += m.im * from.t[j].re;
    }
  }
};

// W - W+ with the overlaps W_ij = <left_i|right_j> of two triplets: all that a derivative needs, as
// dM M+ = -(dM M+)+.
template <class T>
struct Overlap {
  Vector<T> diagonal[3];  // imaginary, half of it
  Complex<T> above[3];    // 01, 02, 12

  QIFF_INLINE void add(const Triplet<T>& left, const Triplet<T>& right) {
    for (int i = 0; i < 3; ++i) {
      diagonal[i] += left.t[i].re * right.t[i].im;
      diagonal[i] -= left.t[i].im * right.t[i].re;
    }
    for (int k = 0; k < 3; ++k) {
      const int i = k / 2, j = 1 + (k + 1) / 2;
      above[k].re += left.t[i].re * right.t[j].re;
      above[k].im += left.t[i].re * right.t[j].im;
      above[k].re += left.t[i].im * right.t[j].im;
      above[k].im -= left.t[i].im * right.t[j].re;
      above[k].re -= left.t[j].re * right.t[i].re;
      above[k].im += left.t[j].re * right.t[i].im;
      above[k].re -= left.t[j].im * right.t[i].im;
      above[k].im -= left.t[j].im * right.t[i].re;
    }
  }
  // Of the sums over lanes.
  template <class V, class Total>
  QIFF_INLINE void get(Matrix<ComplexOf<V>>& w, Total&& total) const {
    for (int i = 0; i < 3; ++i) w[i][i] = {V{}, 2 * total(diagonal[i])};
    for (int k = 0; k < 3; ++k) {
      const int i = k / 2, j = 1 + (k + 1) / 2;
      w[i][j] = {total(above[k].re), total(above[k].im)};
      w[j][i] = {-w[i][j].re, w[i][j].im};
    }
  }
};

}  // namespace QIFF_ISA
