// Gates: what they do to states, and how derivatives in their angles come from overlaps.
//
// A gate U(angles) passes once over the states in each of
//   forward            psi <- U psi
//   forward_tangent    tangent <- U tangent + K psi, K = (d/ds U(angles + s along)) U^-1; psi too
//   backward           the derivative 2 Re <left| dU U^-1 |psi> in the angles; then both states
//                      are carried back by U^-1
//   backward_tangent   the derivative, in the angles, of a derivative along a direction: with
//                        tangent <- tangent - K psi,  shift <- shift - K left
//                      it is 2 Re (<shift| dU U^-1 |psi> + <left| dU U^-1 |tangent> + <left| dK |psi>);
//                      then all four states are carried back
#pragma once

#include "kernels.hpp"
#include "turn.hpp"

namespace QIFF_ISA {

// The angles of a gate, or numbers that go with them, in the arrays outside.
template <class T, Layout kLayout>
struct Reader {
  const Columns<T, kLayout>& columns;
  const T* rows;

  QIFF_INLINE Vector<T> operator[](int k) const { return columns.load(rows + k * columns.n_samples); }
  QIFF_INLINE Triple<T> triple() const { return {(*this)[0], (*this)[1], (*this)[2]}; }
};
template <class T, Layout kLayout>
struct Writer {
  const Columns<T, kLayout>& columns;
  T* rows;

  QIFF_INLINE void set(int k, Vector<T> value) const { columns.store(rows + k * columns.n_samples, value); }
  QIFF_INLINE void set(Triple<T> t) const { set(0, t.x), set(1, t.y), set(2, t.z); }
};

// exp(-i v.sigma/2). The Jacobian of its generator is J = 1 + A [v x] + B [v x]^2:
// dU = -(i/2) (J dv).sigma U. If it is signed, 1 + B [v x]^2 is odd and A [v x] even.
template <class T, Layout kLayout, bool kSigned>
struct Spin {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;
  using Turned = Turn<T, kLayout, kSigned>;

  Triple<T> v;
  V x;
  Half<T> half_angle;
  Turned turn;

  QIFF_INLINE Spin(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles)
      : v(angles.triple()), x(dot<T>(v, v)), half_angle(half<T>(x)),
        turn{space, gate.bit, gate.other, half_angle.cosine, scale<T>(half_angle.ratio, v)} {}

  QIFF_INLINE void forward(V* psi) const { turn.forward(psi); }
  QIFF_INLINE void forward_tangent(V* psi, V* tangent, In along) const {
    turn.forward_tangent(psi, tangent, generator(jacobian<T>(x, half_angle), along.triple()));
  }
  QIFF_INLINE void backward(V* left, V* psi, Out out) const {
    out.set(transposed(jacobian<T>(x, half_angle), turn.backward(left, psi)));
  }
  QIFF_INLINE void backward_tangent(V* left, V* shift, V* psi, V* tangent, In along, Out out) const {
    const Jacobian<T> j = jacobian<T>(x, half_angle);
    const Triple<T> u = along.triple();
    Parts<T> a, b;
    turn.backward_tangent(left, shift, psi, tangent, generator(j, u), a, b);
    const Triple<T> uxa = cross<T>(u, a.even);
    const V vu = dot<T>(v, u), va = dot<T>(v, a.odd), ua = dot<T>(u, a.odd);
    const V radial = 2 * (j.slope_a * dot<T>(v, uxa) + j.slope_b * (va * vu - x * ua) - j.b * ua);
    const Triple<T> bend = scale<T>(vu, a.odd) + scale<T>(va, u);
    out.set(transposed(j, b) + scale<T>(j.a, uxa) + scale<T>(j.b, bend) + scale<T>(radial, v));
  }

 private:
  // J u / 2
  QIFF_INLINE Parts<T> generator(const Jacobian<T>& j, Triple<T> u) const {
    const Triple<T> vxu = cross<T>(v, u), odd = u + scale<T>(j.b, cross<T>(v, vxu)), even = scale<T>(j.a, vxu);
    const V h = fill<T>(0.5);
    if constexpr (kSigned) return {scale<T>(h, odd), scale<T>(h, even)};
    return {scale<T>(h, odd + even), Triple<T>{}};
  }
  // J^T torque
  QIFF_INLINE Triple<T> transposed(const Jacobian<T>& j, const Parts<T>& t) const {
    return t.odd - scale<T>(j.a, cross<T>(v, t.even)) + scale<T>(j.b, cross<T>(v, cross<T>(v, t.odd)));
  }
};

// exp(-i theta X/2), or Y, or Z.
template <class T, Layout kLayout, int kAxis>
struct Rotation {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;
  using Turned = Turn<T, kLayout, false>;

  Turned turn;

  QIFF_INLINE Rotation(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles)
      : Rotation(space, gate, cosine_and_sine<T>(angles[0] / 2)) {}

  QIFF_INLINE void forward(V* psi) const { turn.forward(psi); }
  QIFF_INLINE void forward_tangent(V* psi, V* tangent, In along) const {
    turn.forward_tangent(psi, tangent, {axis(along[0] / 2), Triple<T>{}});
  }
  QIFF_INLINE void backward(V* left, V* psi, Out out) const { out.set(0, component(turn.backward(left, psi))); }
  QIFF_INLINE void backward_tangent(V* left, V* shift, V* psi, V* tangent, In along, Out out) const {
    Parts<T> a, b;
    turn.backward_tangent(left, shift, psi, tangent, {axis(along[0] / 2), Triple<T>{}}, a, b);
    out.set(0, component(b));
  }

 private:
  QIFF_INLINE Rotation(const Register<T, kLayout>& space, const qiff::Gate& gate, Angle<T> half)
      : turn{space, gate.bit, gate.bit, half.cosine, axis(half.sine)} {}

  static QIFF_INLINE Triple<T> axis(V length) {
    return {kAxis == 0 ? length : V{}, kAxis == 1 ? length : V{}, kAxis == 2 ? length : V{}};
  }
  static QIFF_INLINE V component(const Parts<T>& parts) {
    return kAxis == 0 ? parts.odd.x : kAxis == 1 ? parts.odd.y : parts.odd.z;
  }
};

// exp(-i j (XX + YY + ZZ)) up to a phase: exp(2 i j (1 - SWAP)), which changes the difference of
// the amplitudes 01 and 10 alone.
template <class T, Layout kLayout>
struct Exchange {
  using V = Vector<T>;
  using C = Complex<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;

  struct Difference {
    C a, b;

    template <class Block>
    static QIFF_INLINE Difference get(const Block& block, const V* state) {
      return {block.get(state, 1), block.get(state, 2)};
    }
    QIFF_INLINE C operator()() const { return a - b; }
    template <class Block>
    QIFF_INLINE void put(const Block& block, V* state, C change) const {
      block.put(state, 1, a + change);
      block.put(state, 2, b - change);
    }
  };

  const Register<T, kLayout>& space;
  int bit, other;
  C factor;

  QIFF_INLINE Exchange(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles)
      : space(space), bit(gate.bit), other(gate.other) {
    const Angle<T> phase = cosine_and_sine<T>(4 * angles[0]);
    factor = {(phase.cosine - 1) / 2, phase.sine / 2};
  }

  QIFF_INLINE void forward(V* psi) const {
    space.template each<2>({bit, other}, [&](const auto& block) {
      const Difference p = Difference::get(block, psi);
      p.put(block, psi, factor * p());
    });
  }
  QIFF_INLINE void forward_tangent(V* psi, V* tangent, In along) const {
    space.template each<2>({bit, other}, [&](const auto& block) {
      const Difference p = Difference::get(block, psi), t = Difference::get(block, tangent);
      const C change = factor * p();
      p.put(block, psi, change);
      t.put(block, tangent, factor * t() + times_i(2 * along[0], p() + change + change));
    });
  }
  QIFF_INLINE void backward(V* left, V* psi, Out out) const {
    V overlap = {};
    const C back = conjugate<T>(factor);
    const T weight = space.template each<2>({bit, other}, [&](const auto& block) {
      const Difference l = Difference::get(block, left), p = Difference::get(block, psi);
      add_overlap(overlap, l(), p());
      l.put(block, left, back * l());
      p.put(block, psi, back * p());
    });
    out.set(0, -4 * weight * space.total(overlap));
  }
  QIFF_INLINE void backward_tangent(V* left, V* shift, V* psi, V* tangent, In along, Out out) const {
    V overlap = {};
    const C back = conjugate<T>(factor);
    const V rate = 2 * along[0];
    const T weight = space.template each<2>({bit, other}, [&](const auto& block) {
      const Difference l = Difference::get(block, left), s = Difference::get(block, shift);
      const Difference p = Difference::get(block, psi), t = Difference::get(block, tangent);
      const C kl = times_i(-rate, l()), kp = times_i(-rate, p());
      const C ds = s() + kl + kl, dt = t() + kp + kp;
      add_overlap(overlap, ds, p());
      add_overlap(overlap, l(), dt);
      l.put(block, left, back * l());
      s.put(block, shift, kl + back * ds);
      p.put(block, psi, back * p());
      t.put(block, tangent, kp + back * dt);
    });
    out.set(0, -4 * weight * space.total(overlap));
  }

 private:
  static QIFF_INLINE C times_i(V rate, C value) { return {-rate * value.im, rate * value.re}; }
  // to += Im conj(left) right
  static QIFF_INLINE void add_overlap(V& to, C left, C right) {
    to += left.re * right.im;
    to -= left.im * right.re;
  }
};

// Gates without angles: each is its own inverse up to a phase.
template <class T, Layout kLayout, class Gate>
struct Fixed {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;

  QIFF_INLINE void forward_tangent(V* psi, V* tangent, In) const { both(psi, tangent); }
  QIFF_INLINE void backward(V* left, V* psi, Out) const { both(left, psi); }
  QIFF_INLINE void backward_tangent(V* left, V* shift, V* psi, V* tangent, In, Out) const {
    both(left, shift);
    both(psi, tangent);
  }

 private:
  QIFF_INLINE void both(V* one, V* other) const {
    static_cast<const Gate*>(this)->forward(one);
    static_cast<const Gate*>(this)->forward(other);
  }
};

// -i (X + Z) / sqrt(2)
template <class T, Layout kLayout>
struct Hadamard : Fixed<T, kLayout, Hadamard<T, kLayout>> {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  Turn<T, kLayout, false> turn;

  QIFF_INLINE Hadamard(const Register<T, kLayout>& space, const qiff::Gate& gate, In)
      : turn{space, gate.bit, gate.bit, V{}, {}} {
    turn.axis.x = turn.axis.z = fill<T>(T(0.70710678118654752440));
  }
  QIFF_INLINE void forward(V* psi) const { turn.forward(psi); }
};

template <class T, Layout kLayout>
struct ControlledZ : Fixed<T, kLayout, ControlledZ<T, kLayout>> {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  const Register<T, kLayout>& space;
  int bit, other;

  QIFF_INLINE ControlledZ(const Register<T, kLayout>& space, const qiff::Gate& gate, In)
      : space(space), bit(gate.bit), other(gate.other) {}

  QIFF_INLINE void forward(V* psi) const {
    space.template each<2>({bit, other}, [&](const auto& block) {
      const Complex<T> value = block.get(psi, 3);
      block.put(psi, 3, {-value.re, -value.im});
    });
  }
};

}  // namespace QIFF_ISA
