// The kernels of one instruction set: expectation values, their gradient, and the gradient of a
// derivative along a direction, of one circuit in every lane or one circuit in all lanes.

#include "kernels.hpp"

#include "gates.hpp"
#include "quadrupole.hpp"

namespace QIFF_ISA {

using qiff::Arrays;
using qiff::Program;
using qiff::Task;

template <class T, Layout kLayout>
class Circuit {
 public:
  using V = Vector<T>;

  Circuit(const Program& program, const Arrays<T>& arrays, int64_t first, int count, T* workspace)
      : program_(program), arrays_(arrays), columns_{arrays.n_samples, first, count},
        space_(program.n_qubits), workspace_(reinterpret_cast<V*>(workspace)) {}

  bool run(Task task) {
    if (!bounded(task)) return false;
    if (task == Task::kValue) value();
    if (task == Task::kGradient) gradient();
    if (task == Task::kSecond) second();
    return true;
  }

 private:
  bool bounded(Task task) const {
    constexpr T kLargest = Traits<T>::kLargest;
    for (int32_t g = 0; g < program_.n_gates; ++g) {
      const qiff::Gate& gate = program_.gates[g];
      if (gate.kind == qiff::kQuadrupole &&
          !columns_.bounded(arrays_.angles + gate.slot * arrays_.n_samples, 6, T(qiff::kLargestQuadrupole)))
        return false;
    }
    if (!columns_.bounded(arrays_.angles, program_.n_slots, kLargest)) return false;
    if (task == Task::kValue) return true;
    if (!columns_.bounded(arrays_.weights, program_.n_observables, kLargest)) return false;
    if (task == Task::kGradient) return true;
    return columns_.bounded(arrays_.direction, program_.n_slots, kLargest) &&
           columns_.bounded(arrays_.shift, program_.n_observables, kLargest);
  }

  // f_k = <psi|O_k|psi>
  void value() {
    V* psi = state(0);
    forward(psi);
    values(psi, psi, 1);
  }

  // f_k, and the gradient of sum_k weight_k f_k: left = sum_k weight_k O_k psi is carried back
  // through the circuit together with psi.
  void gradient() {
    V *psi = state(0), *left = state(1);
    forward(psi);
    values(psi, psi, 1);
    space_.clear(left);
    observe(left, psi, arrays_.weights);
    for (int32_t g = program_.n_gates - 1; g >= 0; --g) visit(program_.gates[g], [&](const auto& gate, int32_t slot) {
      gate.backward(left, psi, writer(slot));
    });
  }

  // With f = sum_k weight_k f_k and its derivative D f along a direction: D f_k, and the gradient
  // of D f + sum_k shift_k f_k. The tangent of psi is pushed forward; then left = O psi and
  // shift = O tangent + O_shift psi are carried back; see gates.hpp.
  void second() {
    V *psi = state(0), *tangent = state(1), *left = state(2), *shift = state(3);
    start(psi);
    space_.clear(tangent);
    for (int32_t g = 0; g < program_.n_gates; ++g) visit(program_.gates[g], [&](const auto& gate, int32_t slot) {
      gate.forward_tangent(psi, tangent, reader(arrays_.direction, slot));
    });
    values(psi, tangent, 2);
    space_.clear(left);
    space_.clear(shift);
    observe(left, psi, arrays_.weights);
    observe(shift, tangent, arrays_.weights);
    observe(shift, psi, arrays_.shift);
    for (int32_t g = program_.n_gates - 1; g >= 0; --g) visit(program_.gates[g], [&](const auto& gate, int32_t slot) {
      gate.backward_tangent(left, shift, psi, tangent, reader(arrays_.direction, slot), writer(slot));
    });
  }

  V* state(int index) { return workspace_ + 2 * space_.size() * index; }

  void start(V* psi) {
    space_.clear(psi);
    T amplitude = 1;
    for (int32_t p = 0; p < program_.n_pairs; ++p) amplitude *= T(0.70710678118654752440);
    for (int64_t choice = 0; choice < int64_t(1) << program_.n_pairs; ++choice) {
      int64_t index = 0;
      for (int32_t p = 0; p < program_.n_pairs; ++p) {
        const qiff::Pair pair = program_.singlets[p];
        index |= int64_t(1) << (choice >> p & 1 ? pair.bit : pair.other);
      }
      space_.set(psi, index, __builtin_parityll(choice) ? -amplitude : amplitude);
    }
  }

  void forward(V* psi) {
    start(psi);
    for (int32_t g = 0; g < program_.n_gates; ++g)
      visit(program_.gates[g], [&](const auto& gate, int32_t) { gate.forward(psi); });
  }

  // factor Re <left|O_k|right>, stored as the value of every observable.
  void values(const V* left, const V* right, T factor) {
    for (int32_t k = 0, t = 0; k < program_.n_observables; ++k) {
      V total = {};
      for (; t < program_.n_terms && program_.terms[t].observable == k; ++t)
        total += T(program_.coefficients[t]) * space_.word_overlap(left, right, word(t));
      columns_.store(arrays_.values + k * arrays_.n_samples, factor * total);
    }
  }

  // to += sum_k weight_k O_k from
  void observe(V* to, const V* from, const T* weights) {
    for (int32_t t = 0; t < program_.n_terms; ++t) {
      const V weight = columns_.load(weights + program_.terms[t].observable * arrays_.n_samples);
      space_.add_word(to, from, word(t), T(program_.coefficients[t]) * weight);
    }
  }

  Word word(int32_t term) const {
    const qiff::Term& t = program_.terms[term];
    return {t.flip, t.phase, t.n_y};
  }

  QIFF_INLINE Reader<T, kLayout> reader(const T* rows, int32_t slot) const {
    return {columns_, rows + slot * arrays_.n_samples};
  }
  QIFF_INLINE Writer<T, kLayout> writer(int32_t slot) const {
    return {columns_, arrays_.gradient + slot * arrays_.n_samples};
  }

  // Call `function` with the gate at its angles and with its slot.
  template <class Function>
  QIFF_INLINE void visit(const qiff::Gate& gate, Function&& function) {
    switch (gate.kind) {
      case qiff::kSpin: return function(make<Spin<T, kLayout, false>>(gate), gate.slot);
      case qiff::kRx: return function(make<Rotation<T, kLayout, 0>>(gate), gate.slot);
      case qiff::kRy: return function(make<Rotation<T, kLayout, 1>>(gate), gate.slot);
      case qiff::kRz: return function(make<Rotation<T, kLayout, 2>>(gate), gate.slot);
      case qiff::kMirror: return function(make<Spin<T, kLayout, true>>(gate), gate.slot);
      case qiff::kExchange: return function(make<Exchange<T, kLayout>>(gate), gate.slot);
      case qiff::kQuadrupole: return function(make<Quadrupole<T, kLayout>>(gate), gate.slot);
      case qiff::kHadamard: return function(make<Hadamard<T, kLayout>>(gate), gate.slot);
      case qiff::kControlledZ: return function(make<ControlledZ<T, kLayout>>(gate), gate.slot);
    }
  }
  template <class Made>
  QIFF_INLINE Made make(const qiff::Gate& gate) const {
    return Made(space_, gate, reader(arrays_.angles, gate.slot));
  }

  const Program& program_;
  const Arrays<T>& arrays_;
  const Columns<T, kLayout> columns_;
  const Register<T, kLayout> space_;
  V* workspace_;
};

template <class T>
bool side_by_side(Task task, const Program& program, const Arrays<T>& arrays, int64_t first, int count, T* workspace) {
  return Circuit<T, Layout::kSamples>(program, arrays, first, count, workspace).run(task);
}

template <class T>
bool spread(Task task, const Program& program, const Arrays<T>& arrays, int64_t sample, T* workspace) {
  return Circuit<T, Layout::kAmplitudes>(program, arrays, sample, 1, workspace).run(task);
}

template <class T>
double multiply_add(int64_t n) {
  constexpr int kChains = 12;
  const Vector<T> factor = fill<T>(T(0.999)), term = fill<T>(T(1e-3));
  Vector<T> chains[kChains] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int c = 0; c < kChains; ++c) {
      chains[c] = chains[c] * factor + term;
      asm volatile("" : "+x"(chains[c]));  // the compiler must not merge the rounds
    }
  return 2.0 * kChains * kLanes<T> * double(n);
}

extern const qiff::Kernels<float> kFloat;
extern const qiff::Kernels<double> kDouble;
const qiff::Kernels<float> kFloat{kLanes<float>, side_by_side<float>, spread<float>, multiply_add<float>};
const qiff::Kernels<double> kDouble{kLanes<double>, side_by_side<double>, spread<double>, multiply_add<double>};

}  // namespace QIFF_ISA
