// The kernels of one instruction set: expectation values, their gradient, and the gradient of a
// derivative along a direction, of one circuit in every lane or one circuit in all lanes.

#include "kernels.hpp"

#include <new>

#include "gates.hpp"
#include "quadrupole.hpp"
#include "words.hpp"

namespace QIFF_ISA {

using qiff::Arrays;
using qiff::Program;
using qiff::Task;
using qiff::Together;

template <class T, Layout kLayout>
class Circuit {
 public:
  using V = Vector<T>;

  Circuit(Task task, const Program& program, const Arrays<T>& arrays, int64_t first, int count, T* workspace)
      : program_(program), arrays_(arrays), columns_{arrays.n_samples, first, count}, space_(program.n_qubits),
        step_(kept(task, program) ? on_tape(task, program) : 0), functions_(reinterpret_cast<V*>(workspace)),
        tape_(functions_ + program.functions[program.n_gates]),
        left_(tape_ + on_tape(task, program) + step_ * program.n_groups) {}

  // Bytes of the workspace.
  static int64_t bytes(Task task, const Program& program) {
    const int64_t state = on_tape(task, program);
    const int64_t n_states = 1 + (task != Task::kValue) + (kept(task, program) ? program.n_groups : 0);
    return sizeof(V) * (program.functions[program.n_gates] + state * n_states);
  }

  bool run(Task task) {
    if (!bounded(task)) return false;
    prepare(task);
    if (task == Task::kValue) value();
    if (task == Task::kGradient) gradient();
    if (task == Task::kSecond) second();
    return true;
  }

 private:
  static int64_t stride(const Program& program) { return 2 * Register<T, kLayout>(program.n_qubits).size(); }
  // Vectors of a state, and of its tangent if there is one.
  static int64_t on_tape(Task task, const Program& program) {
    return stride(program) * (task == Task::kSecond ? 2 : 1);
  }
  // Whether the states after all groups are kept; else the inverses of the gates give them again.
  static bool kept(Task task, const Program& program) {
    constexpr int64_t kLargest = 256 << 10;
    return task != Task::kValue && int64_t(sizeof(V)) * on_tape(task, program) * (program.n_groups + 1) <= kLargest;
  }

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
    const V* psi = forward();
    values(psi, psi, 1);
  }

  // f_k if they are wanted, and the gradient of sum_k weight_k f_k: left = sum_k weight_k O_k psi is carried back
  // through the circuit.
  void gradient() {
    V* psi = forward();
    if (arrays_.values) values(psi, psi, 1);
    space_.clear(left_);
    observe(left_, psi, arrays_.weights);
    for (int32_t k = program_.n_groups - 1; k >= 0; --k, psi -= step_) {
      each(k, [&](const auto& gate, int32_t slot) { gate.derivative(left_, psi, writer(slot)); });
      each(k, [&](const auto& gate, int32_t) {
        gate.backward(left_);
        if (!step_) gate.backward(psi);
      });
    }
  }

  // With f = sum_k weight_k f_k and its derivative D f along a direction: D f_k, and the gradient
  // of D f + sum_k shift_k f_k. The tangent of psi is pushed forward; then left = O psi and its
  // tangent O psi' + O_shift psi are carried back; see gates.hpp.
  void second() {
    Moving<V> psi = moving(tape_), left = moving(left_);
    start(psi.state);
    space_.clear(psi.tangent);
    for (int32_t k = 0; k < program_.n_groups; ++k) {
      Moving<V> from = psi;
      psi = moving(psi.state + step_);
      each(k, [&](const auto& gate, int32_t slot) {
        gate.forward_tangent(from, psi, reader(arrays_.direction, slot));
        from = psi;
      });
    }
    values(psi.state, psi.tangent, 2);
    space_.clear(left.state);
    space_.clear(left.tangent);
    observe(left.state, psi.state, arrays_.weights);
    observe(left.tangent, psi.tangent, arrays_.weights);
    if (!columns_.bounded(arrays_.shift, program_.n_observables, 0)) observe(left.tangent, psi.state, arrays_.shift);
    for (int32_t k = program_.n_groups - 1; k >= 0; --k, psi = moving(psi.state - step_)) {
      each(k, [&](const auto& gate, int32_t slot) {
        gate.derivative_tangent(left, psi, reader(arrays_.direction, slot), writer(slot));
      });
      each(k, [&](const auto& gate, int32_t slot) {
        const auto along = reader(arrays_.direction, slot);
        gate.backward_tangent(left, along);
        if (!step_) gate.backward_tangent(psi, along);
      });
    }
  }

  Moving<V> moving(V* state) const { return {state, state + stride(program_)}; }

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

  // The state after all gates.
  V* forward() {
    V* psi = tape_;
    start(psi);
    for (int32_t k = 0; k < program_.n_groups; ++k) {
      const V* from = psi;
      psi += step_;
      each(k, [&](const auto& gate, int32_t) {
        gate.forward(from, psi);
        from = psi;
      });
    }
    return psi;
  }

  // factor Re <left|O_k|right>, stored as the value of every observable.
  void values(const V* left, const V* right, T factor) {
    V one = {};
    for (int32_t m = 0; m < program_.n_measured; ++m)
      if (program_.measured[m].kind == Together::kExchange) {
        one = overlap<T>(space_, left, right);
        break;
      }
    for (int32_t k = 0, m = 0; k < program_.n_observables; ++k) {
      V total = {};
      for (; m < program_.n_measured && observable(m) == k; ++m) {
        const qiff::Measured& part = program_.measured[m];
        const T scale = factor * T(program_.coefficients[part.term]);
        if (part.kind == Together::kExchange) {
          total += scale * (one - 2 * singlet_overlap<T>(space_, left, right, part.bit, part.other));
        } else if (part.kind == Together::kVector) {
          const Triple<T> found = vector_overlap<T>(space_, left, right, part.bit, part.flip);
          store(k, scale * found.x), store(k + 1, scale * found.y);
          k += 2, total = scale * found.z;
        } else {
          total += scale * space_.word_overlap(left, right, word(part.term));
        }
      }
      store(k, total);
    }
  }

  // to += sum_k weight_k O_k from
  void observe(V* to, const V* from, const T* weights) {
    V all = {};
    for (int32_t m = 0; m < program_.n_measured; ++m) {
      const qiff::Measured& part = program_.measured[m];
      const auto weight = [&](int k) {
        return T(program_.coefficients[part.term]) * columns_.load(weights + (observable(m) + k) * arrays_.n_samples);
      };
      if (part.kind == Together::kExchange)
        all += weight(0), add_singlet<T>(space_, to, from, part.bit, part.other, -2 * weight(0));
      else if (part.kind == Together::kVector)
        add_vector<T>(space_, to, from, part.bit, part.flip, {weight(0), weight(1), weight(2)});
      else
        space_.add_word(to, from, word(part.term), weight(0));
    }
    add<T>(space_, to, from, all);
  }

  Word word(int32_t term) const {
    const qiff::Term& t = program_.terms[term];
    return {t.flip, t.phase, t.n_y};
  }
  int32_t observable(int32_t m) const { return program_.terms[program_.measured[m].term].observable; }
  void store(int32_t observable, V value) const {
    columns_.store(arrays_.values + observable * arrays_.n_samples, value);
  }

  QIFF_INLINE Reader<T, kLayout> reader(const T* rows, int32_t slot) const {
    return {columns_, rows + slot * arrays_.n_samples};
  }
  QIFF_INLINE Writer<T, kLayout> writer(int32_t slot) const {
    return {columns_, arrays_.gradient + slot * arrays_.n_samples};
  }

  // Call `function` with every gate of a group at its angles, and with its slot.
  template <class Function>
  QIFF_INLINE void each(int32_t group, Function&& function) const {
    for (int32_t g = program_.groups[group]; g < program_.groups[group + 1]; ++g)
      visit(program_.gates[g].kind, [&](auto kind) {
        using Made = typename decltype(kind)::type;
        const qiff::Gate& gate = program_.gates[g];
        const auto& found = *reinterpret_cast<const typename Made::Functions*>(functions_ + program_.functions[g]);
        function(Made(space_, gate, reader(arrays_.angles, gate.slot), found), gate.slot);
      });
  }

  // What depends on angles and their direction only.
  void prepare(Task task) {
    for (int32_t g = 0; g < program_.n_gates; ++g)
      visit(program_.gates[g].kind, [&](auto kind) {
        using Functions = typename decltype(kind)::type::Functions;
        constexpr int kSize = std::is_empty_v<Functions> ? 0 : sizeof(Functions) / sizeof(V);
        static_assert(kSize == qiff::kFunctionsOf[decltype(kind)::kKind]);
        const int32_t slot = program_.gates[g].slot;
        const auto angles = reader(arrays_.angles, slot);
        const auto along = task == Task::kSecond ? reader(arrays_.direction, slot) : angles;
        V* place = functions_ + program_.functions[g];
        if constexpr (kSize > 0) new (place) Functions(angles, along, order(task));
      });
  }

  template <class Gate, qiff::Kind kOf>
  struct Type {
    using type = Gate;
    static constexpr qiff::Kind kKind = kOf;
  };

  // Call `function` with the type of a gate.
  template <class Function>
  static QIFF_INLINE void visit(int32_t kind, Function&& function) {
    switch (kind) {
      case qiff::kSpin: return function(Type<Spin<T, kLayout, false>, qiff::kSpin>{});
      case qiff::kRx: return function(Type<Rotation<T, kLayout, 0>, qiff::kRx>{});
      case qiff::kRy: return function(Type<Rotation<T, kLayout, 1>, qiff::kRy>{});
      case qiff::kRz: return function(Type<Rotation<T, kLayout, 2>, qiff::kRz>{});
      case qiff::kMirror: return function(Type<Spin<T, kLayout, true>, qiff::kMirror>{});
      case qiff::kExchange: return function(Type<Exchange<T, kLayout>, qiff::kExchange>{});
      case qiff::kQuadrupole: return function(Type<Quadrupole<T, kLayout>, qiff::kQuadrupole>{});
      case qiff::kHadamard: return function(Type<Hadamard<T, kLayout>, qiff::kHadamard>{});
      case qiff::kControlledZ: return function(Type<ControlledZ<T, kLayout>, qiff::kControlledZ>{});
    }
  }

  const Program& program_;
  const Arrays<T>& arrays_;
  const Columns<T, kLayout> columns_;
  const Register<T, kLayout> space_;
  const int64_t step_;  // from the state after a group to the next, 0 if only one is kept
  V *functions_, *tape_, *left_;
};

template <class T>
bool side_by_side(Task task, const Program& program, const Arrays<T>& arrays, int64_t first, int count, T* workspace) {
  return Circuit<T, Layout::kSamples>(task, program, arrays, first, count, workspace).run(task);
}

template <class T>
bool spread(Task task, const Program& program, const Arrays<T>& arrays, int64_t sample, T* workspace) {
  return Circuit<T, Layout::kAmplitudes>(task, program, arrays, sample, 1, workspace).run(task);
}

template <class T, Layout kLayout>
int64_t bytes(Task task, const Program& program) {
  return Circuit<T, kLayout>::bytes(task, program);
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

template <class T>
constexpr qiff::Kernels<T> kKernels{
    kLanes<T>, side_by_side<T>, spread<T>, bytes<T, Layout::kSamples>, bytes<T, Layout::kAmplitudes>, multiply_add<T>};
extern const qiff::Kernels<float> kFloat;
extern const qiff::Kernels<double> kDouble;
const qiff::Kernels<float> kFloat = kKernels<float>;
const qiff::Kernels<double> kDouble = kKernels<double>;

}  // namespace QIFF_ISA
