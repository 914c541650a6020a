// Rotations of one qubit: acting on states forwards and backwards, with the overlaps that
// derivatives need. See gates.hpp for the four passes.
#pragma once

#include "state.hpp"

namespace QIFF_ISA {

template <class T>
struct Triple {
  Vector<T> x, y, z;
};
template <class T>
QIFF_INLINE Triple<T> operator+(Triple<T> a, Triple<T> b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class T>
QIFF_INLINE Triple<T> operator-(Triple<T> a, Triple<T> b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <class T>
QIFF_INLINE Triple<T> scale(Vector<T> s, Triple<T> a) {
  return {s * a.x, s * a.y, s * a.z};
}
template <class T>
QIFF_INLINE Vector<T> dot(Triple<T> a, Triple<T> b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <class T>
QIFF_INLINE Triple<T> cross(Triple<T> a, Triple<T> b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

// The two amplitudes of a qubit.
template <class T>
struct Qubit {
  Complex<T> a, b;

  template <class Block>
  static QIFF_INLINE Qubit get(const Block& block, const Vector<T>* state) {
    return {block.get(state, 0), block.get(state, 1)};
  }
  template <class Block>
  QIFF_INLINE void put(const Block& block, Vector<T>* state) const {
    block.put(state, 0, a);
    block.put(state, 1, b);
  }
};
template <class T>
QIFF_INLINE Qubit<T> operator-(Qubit<T> p, Qubit<T> q) {
  return {p.a - q.a, p.b - q.b};
}
template <class T>
QIFF_INLINE Qubit<T> operator+(Qubit<T> p, Qubit<T> q) {
  return {p.a + q.a, p.b + q.b};
}

// -i (x X + y Y + z Z) acting on a qubit.
template <class T>
QIFF_INLINE Qubit<T> generated(Triple<T> t, Qubit<T> q) {
  return {{t.z * q.a.im - t.y * q.b.re + t.x * q.b.im, -t.z * q.a.re - t.y * q.b.im - t.x * q.b.re},
          {t.y * q.a.re + t.x * q.a.im - t.z * q.b.im, t.y * q.a.im - t.x * q.a.re + t.z * q.b.re}};
}

// (cosine - i axis.(X, Y, Z)) acting on a qubit.
template <class T>
QIFF_INLINE Qubit<T> rotated(Vector<T> cosine, Triple<T> axis, Qubit<T> q) {
  const Qubit<T> g = generated<T>(axis, q);
  return {{cosine * q.a.re + g.a.re, cosine * q.a.im + g.a.im},
          {cosine * q.b.re + g.b.re, cosine * q.b.im + g.b.im}};
}

// to += Im <left| X, Y, Z |right>
template <class T>
QIFF_INLINE void add_torque(Triple<T>& to, Qubit<T> left, Qubit<T> right) {
  to.x += left.a.re * right.b.im;
  to.y -= left.a.re * right.b.re;
  to.z += left.a.re * right.a.im;
  to.x -= left.a.im * right.b.re;
  to.y -= left.a.im * right.b.im;
  to.z -= left.a.im * right.a.re;
  to.x += left.b.re * right.a.im;
  to.y += left.b.re * right.a.re;
  to.z -= left.b.re * right.b.im;
  to.x -= left.b.im * right.a.re;
  to.y += left.b.im * right.a.im;
  to.z += left.b.im * right.b.re;
}

template <class T>
struct Parts {
  Triple<T> odd, even;
};

// A rotation of one qubit, U = cosine - i axis.sigma, whose axis is reversed where the bit `sign`
// of the index is set, if it is signed. Odd parts of an overlap or a generator carry that sign.
template <class T, Layout kLayout, bool kSigned>
struct Turn {
  using R = Register<T, kLayout>;
  using V = Vector<T>;

  const R& space;
  int bit, sign;
  V cosine;
  Triple<T> axis;

  QIFF_INLINE void forward(V* psi) const {
    space.template each<1>({bit}, [&](const auto& block) {
      rotated<T>(cosine, signed_axis(block.base), Qubit<T>::get(block, psi)).put(block, psi);
    });
  }
  QIFF_INLINE void forward_tangent(V* psi, V* tangent, Parts<T> half) const {
    space.template each<1>({bit}, [&](const auto& block) {
      const Triple<T> turn = signed_axis(block.base), h = generator(half, block.base);
      const Qubit<T> p = rotated<T>(cosine, turn, Qubit<T>::get(block, psi));
      const Qubit<T> t = rotated<T>(cosine, turn, Qubit<T>::get(block, tangent));
      p.put(block, psi);
      (t + generated<T>(h, p)).put(block, tangent);
    });
  }
  QIFF_INLINE Parts<T> backward(V* left, V* psi) const {
    Parts<T> torque{};
    const T weight = space.template each<1>({bit}, [&](const auto& block) {
      const Triple<T> back = scale<T>(fill<T>(-1), signed_axis(block.base));
      const Qubit<T> l = Qubit<T>::get(block, left), p = Qubit<T>::get(block, psi);
      add(torque, block.base, [&](Triple<T>& to) { add_torque<T>(to, l, p); });
      rotated<T>(cosine, back, l).put(block, left);
      rotated<T>(cosine, back, p).put(block, psi);
    });
    return total(torque, weight);
  }
  QIFF_INLINE void backward_tangent(V* left, V* shift, V* psi, V* tangent, Parts<T> half, Parts<T>& first,
                                    Parts<T>& second) const {
    first = second = Parts<T>{};
    const T weight = space.template each<1>({bit}, [&](const auto& block) {
      const Triple<T> back = scale<T>(fill<T>(-1), signed_axis(block.base));
      const Triple<T> h = generator(half, block.base);
      const Qubit<T> l = Qubit<T>::get(block, left), p = Qubit<T>::get(block, psi);
      const Qubit<T> s = Qubit<T>::get(block, shift) - generated<T>(h, l);
      const Qubit<T> t = Qubit<T>::get(block, tangent) - generated<T>(h, p);
      add(first, block.base, [&](Triple<T>& to) { add_torque<T>(to, l, p); });
      add(second, block.base, [&](Triple<T>& to) {
        add_torque<T>(to, s, p);
        add_torque<T>(to, l, t);
      });
      rotated<T>(cosine, back, l).put(block, left);
      rotated<T>(cosine, back, s).put(block, shift);
      rotated<T>(cosine, back, p).put(block, psi);
      rotated<T>(cosine, back, t).put(block, tangent);
    });
    first = total(first, weight);
    second = total(second, weight);
  }

 private:
  QIFF_INLINE Triple<T> signed_axis(int64_t i) const {
    if constexpr (!kSigned) return axis;
    return scale<T>(space.sign_of(i, sign), axis);
  }
  QIFF_INLINE Triple<T> generator(Parts<T> half, int64_t i) const {
    if constexpr (!kSigned) return half.odd;
    return scale<T>(space.sign_of(i, sign), half.odd) + half.even;
  }
  template <class Function>
  QIFF_INLINE void add(Parts<T>& to, int64_t i, Function&& function) const {
    if constexpr (kSigned) {
      Triple<T> here = {};
      function(here);
      to.odd = to.odd + scale<T>(space.sign_of(i, sign), here);
      to.even = to.even + here;
    } else {
      function(to.odd);
    }
  }
  QIFF_INLINE Parts<T> total(Parts<T> parts, T weight) const {
    const auto sum = [&](Triple<T> t) {
      return Triple<T>{space.total(t.x) * weight, space.total(t.y) * weight, space.total(t.z) * weight};
    };
    const Triple<T> odd = sum(parts.odd);
    if constexpr (kSigned) return {odd, sum(parts.even)};
    return {odd, odd};
  }
};

}  // namespace QIFF_ISA
