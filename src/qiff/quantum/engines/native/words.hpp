// Pauli words that are measured together: XX + YY + ZZ of two qubits, and X, Y and Z of a qubit.
//
// With d the difference of the amplitudes 01 and 10, <XX + YY + ZZ> = <1> - 2 <d|d>.
#pragma once

#include "turn.hpp"

namespace QIFF_ISA {

template <class T>
QIFF_INLINE Complex<T> amplitude(const Vector<T>* state, int64_t i) {
  return {state[2 * i], state[2 * i + 1]};
}

// Re <left|right>
template <class T, Layout kLayout>
Vector<T> overlap(const Register<T, kLayout>& space, const Vector<T>* left, const Vector<T>* right) {
  Vector<T> first = {}, second = {};
  for (int64_t i = 0; i < space.size(); ++i) first += left[2 * i] * right[2 * i], second += left[2 * i + 1] * right[2 * i + 1];
  return space.total(first + second);
}

// to += weight from
template <class T, Layout kLayout>
void add(const Register<T, kLayout>& space, Vector<T>* to, const Vector<T>* from, Vector<T> weight) {
  for (int64_t i = 0; i < 2 * space.size(); ++i) to[i] += weight * from[i];
}

template <class T, class Block>
QIFF_INLINE Complex<T> difference(const Block& block, const Vector<T>* state) {
  return block.get(state, 1) - block.get(state, 2);
}

// Re <d_left|d_right>
template <class T, Layout kLayout>
Vector<T> singlet_overlap(const Register<T, kLayout>& space, const Vector<T>* left, const Vector<T>* right, int bit,
                          int other) {
  Vector<T> first = {}, second = {};
  const T weight = space.template each<2>({bit, other}, [&](const auto& block) QIFF_INLINED {
    const Complex<T> l = difference<T>(block, left), r = difference<T>(block, right);
    first += l.re * r.re;
    second += l.im * r.im;
  });
  return weight * space.total(first + second);
}

// to += weight times the difference of `from`, in 01 and with the opposite sign in 10.
template <class T, Layout kLayout>
void add_singlet(const Register<T, kLayout>& space, Vector<T>* to, const Vector<T>* from, int bit, int other,
                 Vector<T> weight) {
  space.template each<2>({bit, other}, [&](const auto& block) QIFF_INLINED {
    const Complex<T> d = difference<T>(block, from), change{weight * d.re, weight * d.im};
    block.put(to, 1, block.get(to, 1) + change);
    block.put(to, 2, block.get(to, 2) - change);
  });
}

// The words X, Y and Z of a qubit, times X of those in `flip`.
inline void words(Word (&xyz)[3], int bit, int64_t flip) {
  const int64_t own = int64_t(1) << bit;
  xyz[0] = {own | flip, 0, 0}, xyz[1] = {own | flip, own, 1}, xyz[2] = {flip, own, 0};
}

// Re <left|X, Y, Z|right>
template <class T, Layout kLayout>
Triple<T> vector_overlap(const Register<T, kLayout>& space, const Vector<T>* left, const Vector<T>* right, int bit,
                         int64_t flip) {
  if constexpr (kLayout == Layout::kAmplitudes) {
    Word xyz[3];
    words(xyz, bit, flip);
    return {space.word_overlap(left, right, xyz[0]), space.word_overlap(left, right, xyz[1]),
            space.word_overlap(left, right, xyz[2])};
  }
  const int64_t own = int64_t(1) << bit;
  Triple<T> plus{}, minus{};
  for (int64_t i = 0; i < space.size(); ++i) {
    if (i & own) continue;
    const Complex<T> la = amplitude<T>(left, i), lb = amplitude<T>(left, i | own);
    const Complex<T> ra = amplitude<T>(right, i ^ flip), rb = amplitude<T>(right, (i | own) ^ flip);
    plus.x += la.re * rb.re + la.im * rb.im, minus.x += lb.re * ra.re + lb.im * ra.im;
    plus.y += la.re * rb.im + lb.im * ra.re, minus.y += la.im * rb.re + lb.re * ra.im;
    plus.z += la.re * ra.re + la.im * ra.im, minus.z += lb.re * rb.re + lb.im * rb.im;
  }
  return {plus.x + minus.x, plus.y - minus.y, plus.z - minus.z};
}

// to += (weights.x X + weights.y Y + weights.z Z) from
template <class T, Layout kLayout>
void add_vector(const Register<T, kLayout>& space, Vector<T>* to, const Vector<T>* from, int bit, int64_t flip,
                Triple<T> weights) {
  if constexpr (kLayout == Layout::kAmplitudes) {
    Word xyz[3];
    words(xyz, bit, flip);
    space.add_word(to, from, xyz[0], weights.x);
    space.add_word(to, from, xyz[1], weights.y);
    space.add_word(to, from, xyz[2], weights.z);
    return;
  }
  const int64_t own = int64_t(1) << bit;
  for (int64_t i = 0; i < space.size(); ++i) {
    if (i & own) continue;
    const Complex<T> a = amplitude<T>(from, i ^ flip), b = amplitude<T>(from, (i | own) ^ flip);
    Vector<T>*first = to + 2 * i, *second = to + 2 * (i | own);
    first[0] += weights.z * a.re + weights.x * b.re + weights.y * b.im;
    first[1] += weights.z * a.im + weights.x * b.im - weights.y * b.re;
    second[0] += weights.x * a.re - weights.y * a.im - weights.z * b.re;
    second[1] += weights.x * a.im + weights.y * a.re - weights.z * b.im;
  }
}

}  // namespace QIFF_ISA
