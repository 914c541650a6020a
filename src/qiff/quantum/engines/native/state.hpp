// State vectors: how their amplitudes lie in memory, and what observables do to them.
//
// Amplitudes are pairs of vectors (real, imaginary). In the layout `kSamples` every lane is
// another circuit and vector i holds amplitude i; coefficients differ from lane to lane. In the
// layout `kAmplitudes` all lanes belong to one circuit: the lowest bits of the index of an
// amplitude count lanes, and coefficients are equal in all lanes.
#pragma once

#include "lanes.hpp"

namespace QIFF_ISA {

enum class Layout { kSamples, kAmplitudes };

template <class T>
struct Complex {
  Vector<T> re, im;
};
template <class T>
QIFF_INLINE Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
QIFF_INLINE Complex<T> operator-(Complex<T> a, Complex<T> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class T>
QIFF_INLINE Complex<T> operator*(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
QIFF_INLINE Complex<T> conjugate(Complex<T> a) {
  return {a.re, -a.im};
}

// A state that moves along a direction in the angles.
template <class V>
struct Moving {
  V *state, *tangent;
};

// Rows of an array, at the columns of the samples that the lanes hold.
template <class T, Layout kLayout>
struct Columns {
  int64_t n_samples, first;
  int count;

  QIFF_INLINE Vector<T> load(const T* row) const {
    if constexpr (kLayout == Layout::kAmplitudes) return fill<T>(row[first]);
    if (__builtin_expect(count < kLanes<T>, 0)) return load_some(row);
    Vector<T> value;
    __builtin_memcpy(&value, row + first, sizeof value);
    return value;
  }
  QIFF_INLINE void store(T* row, Vector<T> value) const {
    if constexpr (kLayout == Layout::kAmplitudes)
      row[first] = value[0];
    else if (__builtin_expect(count < kLanes<T>, 0))
      store_some(row, value);
    else
      __builtin_memcpy(row + first, &value, sizeof value);
  }
  __attribute__((noinline)) Vector<T> load_some(const T* row) const {
    Vector<T> value = {};
    for (int l = 0; l < count; ++l) value[l] = row[first + l];
    return value;
  }
  __attribute__((noinline)) void store_some(T* row, Vector<T> value) const {
    for (int l = 0; l < count; ++l) row[first + l] = value[l];
  }
  // Whether all entries are numbers of at most `limit`.
  bool bounded(const T* array, int32_t n_rows, T limit) const {
    Integers<T> good = Integers<T>{} - 1;
    for (int32_t r = 0; r < n_rows; ++r) {
      const Vector<T> value = load(array + r * n_samples);
      good &= (value <= limit) & (value >= -limit);
    }
    return !any<T>(~good);
  }
};

// A Pauli word without its coefficient: i^n_y (-1)^|index & phase| |index ^ flip><index|.
struct Word {
  int64_t flip, phase;
  int n_y;
};

template <class T, Layout kLayout>
class Register {
 public:
  using V = Vector<T>;
  using C = Complex<T>;
  using Integer = typename Traits<T>::Integer;
  static constexpr int kLanesPerCircuit = kLayout == Layout::kAmplitudes ? kLanes<T> : 1;
  static constexpr int kLaneBits = __builtin_ctz(kLanesPerCircuit);

  explicit Register(int n_qubits) : size_(int64_t(1) << (n_qubits - kLaneBits)) {}

  // Complex vectors in a state.
  int64_t size() const { return size_; }

  void clear(V* state) const {
    for (int64_t i = 0; i < 2 * size_; ++i) state[i] = V{};
  }

  // Set the real amplitude of an index.
  void set(V* state, int64_t index, T value) const {
    if constexpr (kLaneBits == 0)
      state[2 * index] = fill<T>(value);
    else
      state[2 * (index >> kLaneBits)][index & (kLanes<T> - 1)] = value;
  }

  // to += weight P from
  void add_word(V* to, const V* from, const Word& word, V weight) const {
    for (int64_t i = 0; i < size_; ++i) {
      const C value = word_at(from, word, i);
      to[2 * i] += weight * value.re;
      to[2 * i + 1] += weight * value.im;
    }
  }

  // Re <left| P |right>
  V word_overlap(const V* left, const V* right, const Word& word) const {
    V first = {}, second = {};
    for (int64_t i = 0; i < size_; ++i) {
      const C value = word_at(right, word, i);
      first += left[2 * i] * value.re;
      second += left[2 * i + 1] * value.im;
    }
    return total(first + second);
  }

  // The sum over the lanes of one circuit, in each of them.
  static QIFF_INLINE V total(V value) {
    if constexpr (kLaneBits == 0) return value;
    return fill<T>(sum<T>(value));
  }

  // (-1)^bit of the amplitudes in vector i.
  static QIFF_INLINE V sign_of(int64_t i, int bit) {
    if (kLaneBits > 0 && bit < kLaneBits) return lane_signs(int64_t(1) << bit);
    return fill<T>(i >> (bit - kLaneBits) & 1 ? -1 : 1);
  }

  // The amplitudes that differ in k bits only: corner 0 has none of them, the last one all, and
  // the first bit is the most significant. Where a bit counts lanes, a corner is copied into
  // every lane and only its own lanes are put back.
  template <int kBits, bool kInLanes>
  struct Block {
    int64_t base;
    const int64_t* offset;
    const Integers<T>*origin, *own;

    QIFF_INLINE C get(const V* state, int corner) const {
      const C value = load(state, base + offset[corner]);
      if constexpr (!kInLanes) return value;
      return {permute<T>(value.re, origin[corner]), permute<T>(value.im, origin[corner])};
    }
    QIFF_INLINE void put(V* state, int corner, C value) const {
      V* at = state + 2 * (base + offset[corner]);
      if constexpr (kInLanes) {
        at[0] = own[corner] ? value.re : at[0];
        at[1] = own[corner] ? value.im : at[1];
      } else {
        at[0] = value.re;
        at[1] = value.im;
      }
    }
  };

  // Call `function` with every block; returns the weight of a lane in a sum over blocks.
  template <int kBits, class Function>
  QIFF_INLINE T each(const int (&bits)[kBits], Function&& function) const {
    constexpr int kCorners = 1 << kBits;
    int64_t offset[kCorners] = {};
    bool in_lanes = false;
    for (int b = 0; b < kBits; ++b) in_lanes |= bits[b] < kLaneBits;
    if (!in_lanes) {
      for (int corner = 0; corner < kCorners; ++corner)
        for (int b = 0; b < kBits; ++b)
          if (corner >> (kBits - 1 - b) & 1) offset[corner] |= int64_t(1) << (bits[b] - kLaneBits);
      for (int64_t base = 0; base < size_; base = after(base, offset[kCorners - 1]))
        function(Block<kBits, false>{base, offset, nullptr, nullptr});
      return 1;
    }
    if constexpr (kLaneBits > 0) {
      Integers<T> origin[kCorners], own[kCorners];
      Integer moving = 0;
      int n_high = 0;
      for (int b = 0; b < kBits; ++b) {
        if (bits[b] < kLaneBits) moving |= Integer(1) << bits[b];
        n_high += bits[b] >= kLaneBits;
      }
      for (int corner = 0; corner < kCorners; ++corner) {
        int64_t here = 0;
        for (int b = 0; b < kBits; ++b)
          if (corner >> (kBits - 1 - b) & 1) here |= int64_t(1) << bits[b];
        offset[corner] = here >> kLaneBits;
        const Integer lane = Integer(here) & moving;
        origin[corner] = (lanes() & ~moving) | lane;
        own[corner] = (lanes() & moving) == lane;
      }
      for (int64_t base = 0; base < size_; base = after(base, offset[kCorners - 1]))
        function(Block<kBits, true>{base, offset, origin, own});
      return T(1) / T(1 << (kBits - n_high));
    }
    return 1;
  }

 private:
  // The next index without the bits of a mask.
  static QIFF_INLINE int64_t after(int64_t index, int64_t mask) { return ((index | mask) + 1) & ~mask; }

  static QIFF_INLINE Integers<T> lanes() {
    Integers<T> index;
    for (int l = 0; l < kLanes<T>; ++l) index[l] = l;
    return index;
  }

  static QIFF_INLINE C load(const V* state, int64_t i) { return {state[2 * i], state[2 * i + 1]}; }

  // (-1)^parity(lane & mask), lane by lane.
  static QIFF_INLINE V lane_signs(int64_t mask) {
    V signs;
    for (int l = 0; l < kLanes<T>; ++l) signs[l] = __builtin_parityll(l & mask) ? -1 : 1;
    return signs;
  }

  // Component i of P |from>.
  static QIFF_INLINE C word_at(const V* from, const Word& word, int64_t i) {
    const int64_t source = i ^ word.flip >> kLaneBits;
    C value = load(from, source);
    V sign = fill<T>(__builtin_parityll(source & word.phase >> kLaneBits) ? -1 : 1);
    if constexpr (kLaneBits > 0) {
      const V signs = lane_signs(word.phase & (kLanes<T> - 1));
      const Integers<T> origin = lanes() ^ Integer(word.flip & (kLanes<T> - 1));
      value = {permute<T>(value.re * signs, origin), permute<T>(value.im * signs, origin)};
    }
    if (word.n_y & 2) sign = -sign;
    if (word.n_y & 1) return {-sign * value.im, sign * value.re};
    return {sign * value.re, sign * value.im};
  }

  int64_t size_;
};

}  // namespace QIFF_ISA
