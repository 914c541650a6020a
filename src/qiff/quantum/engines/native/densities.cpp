// The moments of densities of one instruction set: an atom in every lane, one neighbour after the other.
//
// With the radial functions b, their derivatives b' and the products P of the multipoles with the features of a
// neighbour,
//   M[m, k, n] = sum_j P[m, k] b[n]
// and weights W of the moments give T[m, k] = sum_n W[m, k, n] b[n] and S[n] = sum_mk W[m, k, n] P[m, k], from
// which the gradient in everything that a neighbour has follows. As the second derivative is symmetric, its
// product with a direction is the slope of this gradient along it: the same, of dual numbers.

#include "densities.hpp"

#include "exponential.hpp"

namespace QIFF_ISA {

using qiff::Density;
using qiff::DensityArrays;
using qiff::Order;

template <class T>
QIFF_INLINE Vector<T> scaled(T factor, Vector<T> a) {
  return factor * a;
}
template <class T>
QIFF_INLINE Dual<T> scaled(T factor, Dual<T> a) {
  return {factor * a.value, factor * a.slope};
}
template <class T>
QIFF_INLINE Dual<T> operator+(T a, Dual<T> b) {
  return {a + b.value, b.slope};
}

template <class T>
QIFF_INLINE Dual<T> operator-(Dual<T> a, T b) {
  return {a.value - b, a.slope};
}

// The value of a number; the last derivative that there is of it.
template <class T>
QIFF_INLINE Vector<T> value(Vector<T> a) {
  return a;
}
template <class T>
QIFF_INLINE Vector<T> value(Dual<T> a) {
  return a.value;
}
template <class T>
QIFF_INLINE Vector<T> last(Vector<T> a) {
  return a;
}
template <class T>
QIFF_INLINE Vector<T> last(Dual<T> a) {
  return a.slope;
}

// 1/sqrt, the lesser of a number and one, cosine and sine.
template <class T>
QIFF_INLINE Vector<T> inverse_root(Vector<T> square) {
  return 1 / root<T>(square);
}
template <class T>
QIFF_INLINE Dual<T> inverse_root(Dual<T> square) {
  const Vector<T> value = inverse_root<T>(square.value);
  return {value, T(-0.5) * value * value * value * square.slope};
}
template <class T>
QIFF_INLINE Vector<T> at_most_one(Vector<T> a) {
  return a >= 1 ? fill<T>(1) : a;
}
template <class T>
QIFF_INLINE Dual<T> at_most_one(Dual<T> a) {
  return {at_most_one<T>(a.value), a.value >= 1 ? Vector<T>{} : a.slope};
}
template <class R>
struct Wave {
  R cosine, sine;
};
template <class T>
QIFF_INLINE Wave<Vector<T>> wave(Vector<T> angle) {
  const Angle<T> found = cosine_and_sine<T>(angle);
  return {found.cosine, found.sine};
}
template <class T>
QIFF_INLINE Wave<Dual<T>> wave(Dual<T> angle) {
  const Angle<T> found = cosine_and_sine<T>(angle.value);
  return {{found.cosine, -found.sine * angle.slope}, {found.sine, found.cosine * angle.slope}};
}

// R is a vector, or a dual number if a direction is given.
template <class T, class R, Order kOrder>
class Around {
 public:
  using V = Vector<T>;
  static constexpr bool kDual = !std::is_same_v<R, V>;
  static constexpr int kPiece = kDual ? 4 : 8;  // radial functions whose sums the registers hold
  static constexpr int kTogether = 4;           // neighbours, so that few moments are read for all of them
  static constexpr int64_t kNear = 256;         // moments at a time: with their weights they fill half a cache

  Around(const Density& density, const DensityArrays<T>& arrays, int64_t first, int count, T* workspace)
      : density_(density), arrays_(arrays), count_(count), n_products_(density.n_products()),
        n_basis_(density.n_basis), moments_(reinterpret_cast<V*>(workspace)),
        weights_(moments_ + density.n_moments()) {
    for (int l = 0; l < kLanes<T>; ++l) atom_[l] = first + (l < count ? l : count - 1);
    R* free = reinterpret_cast<R*>(weights_ + density.n_moments());
    const auto take = [&](int64_t n) { return free += n, free - n; };
    for (Neighbour& at : together_) {
      at.products = take(n_products_), at.torques = take(n_products_), at.features = take(density.n_features());
      at.basis = take(n_basis_), at.slopes = take(n_basis_), at.sums = take(n_basis_);
    }
  }

  static int64_t bytes(const Density& density) {
    const int64_t n = 2 * density.n_products() + 3 * density.n_basis + density.n_features();
    return 2 * density.n_moments() * int64_t(sizeof(V)) + kTogether * n * int64_t(sizeof(R));
  }

  void run() {
    if (kOrder != Order::kGradient)
      for (int64_t i = 0; i < density_.n_moments(); ++i) moments_[i] = V{};
    if (kOrder != Order::kValue) load_weights();
    int n = 0;
    for (int64_t j = 0; j < density_.n_neighbours; ++j) {
      n += load(together_[n], j);
      if (n == kTogether || j + 1 == density_.n_neighbours) sum(n), n = 0;
    }
    if (kOrder != Order::kGradient) store_moments();
  }

 private:
  struct Vector3 {
    R x, y, z;
  };
  // A neighbour of the atom of every lane, at a place of the table.
  struct Neighbour {
    int64_t place;
    R inverse;  // of the distance
    Vector3 unit;
    R *products, *torques, *basis, *slopes, *sums, *features;
  };
  static QIFF_INLINE R dot(const Vector3& a, const Vector3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

  int64_t edge(int lane, int64_t j) const { return atom_[lane] * density_.n_neighbours + j; }

  // A number of every lane.
  template <class Place>
  QIFF_INLINE R gathered(const T* at, const T* along, Place&& place) const {
    V value;
    for (int l = 0; l < kLanes<T>; ++l) value[l] = at[place(l)];
    if constexpr (!kDual) {
      return value;
    } else {
      V slope;
      for (int l = 0; l < kLanes<T>; ++l) slope[l] = along[place(l)];
      return {value, slope};
    }
  }

  // What is known of a neighbour; false if it is beyond the cutoff of the atoms of all lanes.
  bool load(Neighbour& to, int64_t j) const {
    const auto &at = arrays_.at, &along = arrays_.along;
    const auto apart = [&](int c) {
      return gathered(at.apart, along.apart, [&](int l) { return 3 * edge(l, j) + c; });
    };
    const Vector3 r{apart(0), apart(1), apart(2)};
    const R square = dot(r, r);
    const R inverse = inverse_root<T>(square), x = scaled<T>(1 / T(density_.cutoff), square * inverse);
    if (!any<T>(~(value<T>(x) >= 1))) return false;
    to.place = j, to.inverse = inverse, to.unit = {inverse * r.x, inverse * r.y, inverse * r.z};
    radial(to, at_most_one<T>(x));
    int64_t other[kLanes<T>];
    for (int l = 0; l < kLanes<T>; ++l)
      other[l] = atom_[l] / density_.n_atoms * density_.n_all + arrays_.neighbours[edge(l, j)];
    const int64_t n_scalars = density_.n_scalars, n_rest = 3 * density_.n_vectors;
    for (int64_t k = 0; k < n_scalars; ++k)
      to.features[k] = gathered(at.scalars, along.scalars, [&](int l) { return other[l] * n_scalars + k; });
    for (int64_t k = 0; k < n_rest; ++k)
      to.features[n_scalars + k] = gathered(at.vectors, along.vectors, [&](int l) { return other[l] * n_rest + k; });
    multiply(to);
    return true;
  }

  // b and b' at x, the distance divided by the cutoff; see `Density` in density.py.
  void radial(Neighbour& to, R x) const {
    const T cutoff = T(density_.cutoff), scale = T(std::sqrt(2 / density_.cutoff));
    const R less = T(1) + scaled<T>(-1, x), square = x * x;
    const R window = T(1) + scaled<T>(-1, square * x * (T(10) + scaled<T>(-15, x) + scaled<T>(6, square)));
    const R change = scaled<T>(-30 / cutoff, square * less * less);
    for (int64_t n = 0; n < n_basis_; ++n) {
      const T rate = T(3.14159265358979323846 * double(n + 1));
      const Wave<R> found = wave<T>(scaled<T>(rate, x));
      const R sine = scaled<T>(scale, to.inverse * found.sine), cosine = scaled<T>(scale, to.inverse * found.cosine);
      to.basis[n] = sine * window;
      if (kOrder != Order::kValue)
        to.slopes[n] = scaled<T>(rate / cutoff, cosine * window) + sine * change - to.inverse * to.basis[n];
    }
  }

  // The components of products are 1; x, y, z; xx, xy, xz, yy, yz, zz, for all features.
  R* component(R* of, int64_t c) const { return of + c * (density_.n_scalars + density_.n_vectors); }
  Vector3 vector(const Neighbour& of, int64_t k) const {
    const R* at = of.features + density_.n_scalars + k;
    const int64_t n = density_.n_vectors;
    return {at[0], at[n], at[2 * n]};
  }

  // P
  void multiply(Neighbour& to) const {
    const auto& [x, y, z] = to.unit;
    const T third = T(1) / 3;
    const R multipoles[] = {x, y, z, x * x - third, x * y, x * z, y * y - third, y * z, z * z - third};
    for (int64_t k = 0; k < density_.n_scalars; ++k) {
      to.products[k] = to.features[k];
      for (int64_t c = 1; c < Density::kComponents; ++c)
        component(to.products, c)[k] = multipoles[c - 1] * to.features[k];
    }
    for (int64_t k = 0; k < density_.n_vectors; ++k) {
      const Vector3 v = vector(to, k);
      const R along = dot(to.unit, v), trace = scaled<T>(third, along);
      const auto half = [](const R& a, const R& b) { return scaled<T>(T(0.5), a + b); };
      const R all[] = {along, v.x, v.y, v.z, x * v.x - trace, half(x * v.y, y * v.x), half(x * v.z, z * v.x),
                       y * v.y - trace, half(y * v.z, z * v.y), z * v.z - trace};
      for (int64_t c = 0; c < Density::kComponents; ++c) component(to.products, c)[density_.n_scalars + k] = all[c];
    }
  }

  // The moments, T and S of the first neighbours that are together, and the gradient in these.
  void sum(int count) {
    for (int k = 0; k < count && kOrder != Order::kValue; ++k) {
      for (int64_t i = 0; i < n_products_; ++i) together_[k].torques[i] = R{};
      for (int64_t n = 0; n < n_basis_; ++n) together_[k].sums[n] = R{};
    }
    const int64_t step = kNear > n_basis_ ? kNear / n_basis_ : 1;
    for (int64_t begin = 0; begin < n_products_; begin += step)
      for (int k = 0; k < count; ++k) {
        const int64_t end = begin + step < n_products_ ? begin + step : n_products_;
        int64_t n = 0;
        for (; n + kPiece <= n_basis_; n += kPiece) piece<kPiece>(together_[k], begin, end, n);
        for (; n < n_basis_; ++n) piece<1>(together_[k], begin, end, n);
      }
    for (int k = 0; k < count && kOrder != Order::kValue; ++k) differentiate(together_[k]);
  }
  template <int kCount>
  void piece(const Neighbour& at, int64_t begin, int64_t end, int64_t first) {
    R basis[kCount], sums[kCount] = {};
    for (int n = 0; n < kCount; ++n) basis[n] = at.basis[first + n];
    for (int64_t i = begin; i < end; ++i) {
      const R product = at.products[i];
      const V* weights = weights_ + i * n_basis_ + first;
      V* moments = moments_ + i * n_basis_ + first;
      R torque{};
      for (int n = 0; n < kCount; ++n) {
        if (kOrder != Order::kGradient) moments[n] += last<T>(product * basis[n]);
        if (kOrder == Order::kValue) continue;
        torque = torque + weights[n] * basis[n];
        sums[n] = sums[n] + weights[n] * product;
      }
      if (kOrder != Order::kValue) at.torques[i] = at.torques[i] + torque;
    }
    for (int n = 0; n < kCount && kOrder != Order::kValue; ++n) at.sums[first + n] = at.sums[first + n] + sums[n];
  }

  // The gradient in displacement and features of a neighbour.
  void differentiate(const Neighbour& at) const {
    const auto& [x, y, z] = at.unit;
    const int64_t j = at.place;
    R along{};
    for (int64_t n = 0; n < n_basis_; ++n) along = along + at.slopes[n] * at.sums[n];
    Vector3 turned{};
    const int64_t n_scalars = density_.n_scalars, n_vectors = density_.n_vectors;
    for (int64_t k = 0; k < n_scalars; ++k) {
      const Torque t = torque(at, k);
      const Vector3 q = t.times(at.unit);
      store(arrays_.features, density_.n_features(), j, k,
            t.scalar + dot(t.vector, at.unit) + dot(q, at.unit) - t.third);
      const R s = at.features[k], twice = s + s;
      turned = {turned.x + s * t.vector.x + twice * q.x, turned.y + s * t.vector.y + twice * q.y,
                turned.z + s * t.vector.z + twice * q.z};
    }
    for (int64_t k = 0; k < n_vectors; ++k) {
      Torque t = torque(at, n_scalars + k);
      const R diagonal = t.scalar - t.third;
      t.xx = t.xx + diagonal, t.yy = t.yy + diagonal, t.zz = t.zz + diagonal;
      const Vector3 to_unit = t.times(vector(at, k)), to_vector = t.times(at.unit);
      turned = {turned.x + to_unit.x, turned.y + to_unit.y, turned.z + to_unit.z};
      const R all[] = {t.vector.x + to_vector.x, t.vector.y + to_vector.y, t.vector.z + to_vector.z};
      for (int64_t c = 0; c < 3; ++c) store(arrays_.features, density_.n_features(), j, n_scalars + c * n_vectors + k, all[c]);
    }
    const R radial = along - at.inverse * dot(at.unit, turned);
    const R all[] = {at.inverse * turned.x + x * radial, at.inverse * turned.y + y * radial,
                     at.inverse * turned.z + z * radial};
    for (int64_t c = 0; c < 3; ++c) store(arrays_.apart, 3, j, c, all[c]);
  }

  // T of a feature by rank, that of rank 2 as a symmetric matrix, and a third of its trace.
  struct Torque {
    R scalar, third;
    Vector3 vector;
    R xx, xy, xz, yy, yz, zz;

    Vector3 times(const Vector3& v) const {
      return {xx * v.x + xy * v.y + xz * v.z, xy * v.x + yy * v.y + yz * v.z, xz * v.x + yz * v.y + zz * v.z};
    }
  };
  Torque torque(const Neighbour& at, int64_t k) const {
    const auto of = [&](int64_t c) { return component(at.torques, c)[k]; };
    const auto half = [&](int64_t c) { return scaled<T>(T(0.5), of(c)); };
    return {of(0), scaled<T>(T(1) / 3, of(4) + of(7) + of(9)), {of(1), of(2), of(3)},
            of(4), half(5), half(6), of(7), half(8), of(9)};
  }

  void store(T* rows, int64_t n, int64_t j, int64_t column, const R& found) const {
    const V value = last<T>(found);
    for (int l = 0; l < count_; ++l) rows[edge(l, j) * n + column] = value[l];
  }

  // Rows of atoms, from and to vectors with an atom in every lane.
  void load_weights() {
    const int64_t n = density_.n_moments();
    int64_t i = 0;
    for (V square[kLanes<T>]; i + kLanes<T> <= n; i += kLanes<T>) {
#pragma GCC unroll 16
      for (int l = 0; l < kLanes<T>; ++l) __builtin_memcpy(&square[l], arrays_.weights + atom_[l] * n + i, sizeof(V));
      transpose<T>(square);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes<T>; ++l) weights_[i + l] = square[l];
    }
    for (; i < n; ++i)
      for (int l = 0; l < kLanes<T>; ++l) weights_[i][l] = arrays_.weights[atom_[l] * n + i];
  }
  void store_moments() const {
    const int64_t n = density_.n_moments();
    int64_t i = 0;
    for (V square[kLanes<T>]; i + kLanes<T> <= n; i += kLanes<T>) {
#pragma GCC unroll 16
      for (int l = 0; l < kLanes<T>; ++l) square[l] = moments_[i + l];
      transpose<T>(square);
#pragma GCC unroll 16
      for (int l = 0; l < kLanes<T>; ++l)
        if (l < count_) __builtin_memcpy(arrays_.moments + atom_[l] * n + i, &square[l], sizeof(V));
    }
    for (; i < n; ++i)
      for (int l = 0; l < count_; ++l) arrays_.moments[atom_[l] * n + i] = moments_[i][l];
  }

  const Density& density_;
  const DensityArrays<T>& arrays_;
  int64_t atom_[kLanes<T>];
  const int count_;
  const int64_t n_products_, n_basis_;
  V *moments_, *weights_;
  Neighbour together_[kTogether];
};

template <class T>
void run(Order order, const Density& density, const DensityArrays<T>& arrays, int64_t first, int count, T* workspace) {
  using V = Vector<T>;
  switch (order) {
    case Order::kValue: return Around<T, V, Order::kValue>(density, arrays, first, count, workspace).run();
    case Order::kGradient: return Around<T, V, Order::kGradient>(density, arrays, first, count, workspace).run();
    case Order::kSecond: return Around<T, Dual<T>, Order::kSecond>(density, arrays, first, count, workspace).run();
  }
}

template <class T>
int64_t bytes(Order order, const Density& density) {
  if (order == Order::kSecond) return Around<T, Dual<T>, Order::kSecond>::bytes(density);
  return Around<T, Vector<T>, Order::kGradient>::bytes(density);
}

extern const qiff::Densities<float> kFloatDensities;
extern const qiff::Densities<double> kDoubleDensities;
const qiff::Densities<float> kFloatDensities{kLanes<float>, run<float>, bytes<float>};
const qiff::Densities<double> kDoubleDensities{kLanes<double>, run<double>, bytes<double>};

}  // namespace QIFF_ISA
