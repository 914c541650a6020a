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

// Im <left| X, Y, Z |right> as a difference of two sums: shorter chains of additions.
template <class T>
struct Torque {
  Triple<T> plus = {}, minus = {};

  QIFF_INLINE void add(Qubit<T> left, Qubit<T> right) {
    plus.x += left.a.re * right.b.im;
    minus.x += left.a.im * right.b.re;
    minus.y += left.a.re * right.b.re;
    minus.z += left.a.im * right.a.re;
    plus.z += left.a.re * right.a.im;
    minus.y += left.a.im * right.b.im;
    plus.x += left.b.re * right.a.im;
    minus.x += left.b.im * right.a.re;
    plus.y += left.b.re * right.a.re;
    minus.z += left.b.re * right.b.im;
    plus.z += left.b.im * right.b.re;
    plus.y += left.b.im * right.a.im;
  }
  QIFF_INLINE Triple<T> operator()() const { return plus - minus; }
};

template <class T>
struct Parts {
  Triple<T> odd, even;

  QIFF_INLINE Parts inverse() const { return {scale<T>(fill<T>(-1), odd), even}; }
};
template <class T>
QIFF_INLINE Parts<T> operator+(Parts<T> a, Parts<T> b) {
  return {a.odd + b.odd, a.even + b.even};
}

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

  QIFF_INLINE Turn inverse() const { return {space, bit, sign, cosine, scale<T>(fill<T>(-1), axis)}; }

  QIFF_INLINE void forward(const V* from, V* to) const {
    for (int half = 0; half < kHalves; ++half) {
      const Triple<T> own = of_half(half, axis, Triple<T>{});
      pairs(half, [&](const auto& pair) QIFF_INLINED {
        rotated<T>(cosine, own, Qubit<T>::get(pair, from)).put(pair, to);
      });
    }
  }
  QIFF_INLINE void forward_tangent(Moving<V> from, Moving<V> to, Parts<T> generator) const {
    forward(from.state, to.state);
    for (int half = 0; half < kHalves; ++half) {
      const Triple<T> own = of_half(half, axis, Triple<T>{}), push = of_half(half, generator.odd, generator.even);
      pairs(half, [&](const auto& pair) QIFF_INLINED {
        const Qubit<T> t = rotated<T>(cosine, own, Qubit<T>::get(pair, from.tangent));
        (t + generated<T>(push, Qubit<T>::get(pair, to.state))).put(pair, to.tangent);
      });
    }
  }
  // Im <left| X, Y, Z |psi>
  QIFF_INLINE Parts<T> torque(const V* left, const V* psi) const {
    Triple<T> sums[kHalves];
    for (int half = 0; half < kHalves; ++half) {
      Torque<T> sum;
      const T weight = pairs(half, [&](const auto& pair) QIFF_INLINED {
        sum.add(Qubit<T>::get(pair, left), Qubit<T>::get(pair, psi));
      });
      sums[half] = total(sum(), weight);
    }
    if constexpr (!kSigned) return {sums[0], sums[0]};
    return {sums[0] - sums[kHalves - 1], sums[0] + sums[kHalves - 1]};
  }

 private:
  // The amplitudes whose bit `sign` is not set, then those where it is and the axis is reversed.
  static constexpr int kHalves = kSigned ? 2 : 1;

  // The corners of one half of a block of both bits.
  template <class Block>
  struct Half {
    const Block& block;
    int half;

    QIFF_INLINE Complex<T> get(const V* state, int corner) const { return block.get(state, 2 * corner + half); }
    QIFF_INLINE void put(V* state, int corner, Complex<T> value) const { block.put(state, 2 * corner + half, value); }
  };

  // Call `function` with every pair of amplitudes of a half; see `each`.
  template <class Function>
  QIFF_INLINE T pairs(int half, Function&& function) const {
    if constexpr (!kSigned) return space.template each<1>({bit}, function);
    return space.template each<2>({bit, sign}, [&](const auto& block) QIFF_INLINED {
      function(Half<std::decay_t<decltype(block)>>{block, half});
    });
  }
  static QIFF_INLINE Triple<T> of_half(int half, Triple<T> odd, Triple<T> even) {
    if constexpr (!kSigned) return odd + even;
    return half ? even - odd : even + odd;
  }
  static QIFF_INLINE Triple<T> total(Triple<T> t, T weight) {
    return {Register<T, kLayout>::total(t.x) * weight, Register<T, kLayout>::total(t.y) * weight,
            Register<T, kLayout>::total(t.z) * weight};
  }
};

}  // namespace QIFF_ISA
