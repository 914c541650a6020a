// Gates: what they do to states, and how derivatives in their angles come from overlaps.
//
// A gate U(angles) is built from its angles and from functions of them, which are computed once. It
// passes over the states in each of
//   forward              to <- U from
//   forward_tangent      the same, and its tangent <- U tangent + K to,
//                        K = (d/ds U(angles + s along)) U^-1
//   backward             state <- U^-1 state, and backward_tangent likewise
//   derivative           2 Re <left| G |psi> for the angles, where dU = G U
//   derivative_tangent   its derivative along a direction,
//                        2 Re (<left'| G |psi> + <left| G |psi'> + <left| G' |psi>)
// Derivatives take the states after the gate, and after any others that commute with it.
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

  struct Functions {
    Half<T> half;
    Jacobian<T> jacobian;

    QIFF_INLINE Functions(In angles, In, int order) {
      const Triple<T> v = angles.triple();
      const V x = dot<T>(v, v);
      half = QIFF_ISA::half<T>(x);
      if (order > 0) jacobian = QIFF_ISA::jacobian<T>(x, half);
    }
  };

  Triple<T> v;
  Jacobian<T> j;
  Turned turn;

  QIFF_INLINE Spin(const Register<T, kLayout>& space, const qiff::Gate& gate, In angles, const Functions& f)
      : v(angles.triple()), j(f.jacobian),
        turn{space, gate.bit, gate.other, f.half.cosine, scale<T>(f.half.ratio, v)} {}

  QIFF_INLINE void forward(const V* from, V* to) const { turn.forward(from, to); }
  QIFF_INLINE void forward_tangent(Moving<V> from, Moving<V> to, In along) const {
    turn.forward_tangent(from, to, generator(along.triple()));
  }
  QIFF_INLINE void backward(V* state) const { turn.inverse().forward(state, state); }
  QIFF_INLINE void backward_tangent(Moving<V> at, In along) const {
    turn.inverse().forward_tangent(at, at, generator(along.triple()).inverse());
  }
  QIFF_INLINE void derivative(const V* left, const V* psi, Out out) const {
    out.set(transposed(turn.torque(left, psi)));
  }
  QIFF_INLINE void derivative_tangent(Moving<V> left, Moving<V> psi, In along, Out out) const {
    const Triple<T> u = along.triple();
    const Parts<T> a = turn.torque(left.state, psi.state);
    const Parts<T> b = turn.torque(left.tangent, psi.state) + turn.torque(left.state, psi.tangent);
    const V rate = 2 * dot<T>(v, u);
    const Triple<T> vxa = cross<T>(v, a.odd);
    const Triple<T> even = cross<T>(scale<T>(j.a, u) + scale<T>(rate * j.slope_a, v), a.even);
    const Triple<T> odd = scale<T>(j.b, cross<T>(v, cross<T>(u, a.odd)) + cross<T>(u, vxa));
    out.set(transposed(b) + odd + scale<T>(rate * j.slope_b, cross<T>(v, vxa)) - even);
  }

 private:
  // J u / 2
  QIFF_INLINE Parts<T> generator(Triple<T> u) const {
    const Triple<T> vxu = cross<T>(v, u);
    return {scale<T>(fill<T>(0.5), u + scale<T>(j.b, cross<T>(v, vxu))), scale<T>(j.a / 2, vxu)};
  }
  // J^T torque
  QIFF_INLINE Triple<T> transposed(const Parts<T>& t) const {
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

  struct Functions {
    Angle<T> half;

    QIFF_INLINE Functions(In angles, In, int) : half(cosine_and_sine<T>(angles[0] / 2)) {}
  };

  Turned turn;

  QIFF_INLINE Rotation(const Register<T, kLayout>& space, const qiff::Gate& gate, In, const Functions& f)
      : turn{space, gate.bit, gate.bit, f.half.cosine, axis(f.half.sine)} {}

  QIFF_INLINE void forward(const V* from, V* to) const { turn.forward(from, to); }
  QIFF_INLINE void forward_tangent(Moving<V> from, Moving<V> to, In along) const {
    turn.forward_tangent(from, to, generator(along));
  }
  QIFF_INLINE void backward(V* state) const { turn.inverse().forward(state, state); }
  QIFF_INLINE void backward_tangent(Moving<V> at, In along) const {
    turn.inverse().forward_tangent(at, at, generator(along).inverse());
  }
  QIFF_INLINE void derivative(const V* left, const V* psi, Out out) const {
    out.set(0, component(turn.torque(left, psi)));
  }
  QIFF_INLINE void derivative_tangent(Moving<V> left, Moving<V> psi, In, Out out) const {
    out.set(0, component(turn.torque(left.tangent, psi.state) + turn.torque(left.state, psi.tangent)));
  }

 private:
  static QIFF_INLINE Parts<T> generator(In along) { return {axis(along[0] / 2), Triple<T>{}}; }
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

  struct Functions {
    C factor;

    QIFF_INLINE Functions(In angles, In, int) {
      const Angle<T> phase = cosine_and_sine<T>(4 * angles[0]);
      factor = {(phase.cosine - 1) / 2, phase.sine / 2};
    }
  };

  const Register<T, kLayout>& space;
  int bit, other;
  C factor;

  QIFF_INLINE Exchange(const Register<T, kLayout>& space, const qiff::Gate& gate, In, const Functions& f)
      : space(space), bit(gate.bit), other(gate.other), factor(f.factor) {}

  QIFF_INLINE void forward(const V* from, V* to) const {
    turn(from, to, factor);
  }
  QIFF_INLINE void forward_tangent(Moving<V> from, Moving<V> to, In along) const {
    turn(from, to, factor, 2 * along[0]);
  }
  QIFF_INLINE void backward(V* state) const { turn(state, state, conjugate<T>(factor)); }
  QIFF_INLINE void backward_tangent(Moving<V> at, In along) const {
    turn(at, at, conjugate<T>(factor), -2 * along[0]);
  }
  QIFF_INLINE void derivative(const V* left, const V* psi, Out out) const { out.set(0, overlap(left, psi)); }
  QIFF_INLINE void derivative_tangent(Moving<V> left, Moving<V> psi, In, Out out) const {
    out.set(0, overlap(left.tangent, psi.state) + overlap(left.state, psi.tangent));
  }

 private:
  QIFF_INLINE void turn(const V* from, V* to, C factor) const {
    space.template each<2>({bit, other}, [&](const auto& block) QIFF_INLINED {
      const Difference p = Difference::get(block, from);
      if (from != to) keep(block, from, to);
      p.put(block, to, factor * p());
    });
  }
  QIFF_INLINE void turn(Moving<V> from, Moving<V> to, C factor, V rate) const {
    const C slope{-2 * rate * factor.im, rate + 2 * rate * factor.re};
    space.template each<2>({bit, other}, [&](const auto& block) QIFF_INLINED {
      const Difference p = Difference::get(block, from.state), t = Difference::get(block, from.tangent);
      if (from.state != to.state) keep(block, from.state, to.state), keep(block, from.tangent, to.tangent);
      p.put(block, to.state, factor * p());
      t.put(block, to.tangent, factor * t() + slope * p());
    });
  }
  template <class Block>
  static QIFF_INLINE void keep(const Block& block, const V* from, V* to) {
    block.put(to, 0, block.get(from, 0));
    block.put(to, 3, block.get(from, 3));
  }
  // -4 Im of the overlap of the differences
  QIFF_INLINE V overlap(const V* left, const V* psi) const {
    V plus = {}, minus = {};
    const T weight = space.template each<2>({bit, other}, [&](const auto& block) QIFF_INLINED {
      const C l = Difference::get(block, left)(), p = Difference::get(block, psi)();
      plus += l.re * p.im;
      minus += l.im * p.re;
    });
    return -4 * weight * space.total(plus - minus);
  }
};

template <class T, Layout kLayout>
struct None {
  QIFF_INLINE None(Reader<T, kLayout>, Reader<T, kLayout>, int) {}
};

// Gates without angles. Phases count: a state that is carried back meets one that was kept.
template <class T, Layout kLayout, class Gate>
struct Fixed {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  using Out = Writer<T, kLayout>;

  using Functions = None<T, kLayout>;

  QIFF_INLINE void forward_tangent(Moving<V> from, Moving<V> to, In) const {
    self().forward(from.state, to.state);
    self().forward(from.tangent, to.tangent);
  }
  QIFF_INLINE void backward_tangent(Moving<V> at, In) const {
    self().backward(at.state);
    self().backward(at.tangent);
  }
  QIFF_INLINE void derivative(const V*, const V*, Out) const {}
  QIFF_INLINE void derivative_tangent(Moving<V>, Moving<V>, In, Out) const {}

 private:
  QIFF_INLINE const Gate& self() const { return *static_cast<const Gate*>(this); }
};

// -i (X + Z) / sqrt(2)
template <class T, Layout kLayout>
struct Hadamard : Fixed<T, kLayout, Hadamard<T, kLayout>> {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  Turn<T, kLayout, false> turn;

  QIFF_INLINE Hadamard(const Register<T, kLayout>& space, const qiff::Gate& gate, In, const None<T, kLayout>&)
      : turn{space, gate.bit, gate.bit, V{}, {}} {
    turn.axis.x = turn.axis.z = fill<T>(T(0.70710678118654752440));
  }
  QIFF_INLINE void forward(const V* from, V* to) const { turn.forward(from, to); }
  QIFF_INLINE void backward(V* state) const { turn.inverse().forward(state, state); }
};

template <class T, Layout kLayout>
struct ControlledZ : Fixed<T, kLayout, ControlledZ<T, kLayout>> {
  using V = Vector<T>;
  using In = Reader<T, kLayout>;
  const Register<T, kLayout>& space;
  int bit, other;

  QIFF_INLINE ControlledZ(const Register<T, kLayout>& space, const qiff::Gate& gate, In, const None<T, kLayout>&)
      : space(space), bit(gate.bit), other(gate.other) {}

  QIFF_INLINE void forward(const V* from, V* to) const {
    space.template each<2>({bit, other}, [&](const auto& block) QIFF_INLINED {
      for (int corner = 0; corner < 3; ++corner) block.put(to, corner, block.get(from, corner));
      const Complex<T> value = block.get(from, 3);
      block.put(to, 3, {-value.re, -value.im});
    });
  }
  QIFF_INLINE void backward(V* state) const { forward(state, state); }
};

}  // namespace QIFF_ISA
