// What the handlers and the kernels of every instruction set agree on.
#pragma once

#include <cstdint>

namespace qiff {

enum Kind : int32_t {
  kSpin,
  kRx,
  kRy,
  kRz,
  kMirror,  // between Hadamard gates on the ancilla: a spin gate whose sign the ancilla sets
  kExchange,
  kQuadrupole,
  kHadamard,
  kControlledZ,
  kKinds,
};

constexpr int kAnglesOf[kKinds] = {3, 1, 1, 1, 3, 1, 6, 0, 0};
// Vectors of numbers that depend on the angles and are computed once for all passes of a gate.
constexpr int kFunctionsOf[kKinds] = {6, 2, 2, 2, 6, 2, 61, 0, 0};
constexpr int kQubitsOf[kKinds] = {1, 1, 1, 1, 2, 2, 2, 1, 2};

// Entries of a quadrupole are applied in parts, whose number must stay reasonable.
constexpr double kLargestQuadrupole = 1e5;

// Bits count from the least significant bit of the index of an amplitude.
struct Gate {
  int32_t kind, bit, other, slot;
};
struct Pair {
  int32_t bit, other;
};
// A Pauli word of an observable; see `Word` in state.hpp.
struct Term {
  int32_t observable, flip, phase, n_y;
};

// Words that are measured together: one; XX + YY + ZZ of two qubits; or X, Y and Z of a qubit, times X of those
// whose bits are in `flip`, which are three observables.
enum class Together : int32_t { kWord, kExchange, kVector };
struct Measured {
  Together kind;
  int32_t term, bit, other, flip;  // the first term
};

struct Program {
  int32_t n_qubits, n_pairs, n_gates, n_terms, n_observables, n_slots;
  const Pair* singlets;
  const Gate* gates;
  const Term* terms;
  const double* coefficients;  // of the terms
  // Gates groups[k], ..., groups[k + 1] - 1 are on different qubits, so they commute.
  int32_t n_groups;
  const int32_t* groups;
  int32_t n_measured;
  const Measured* measured;
  const int32_t* functions;  // where those of a gate begin, in vectors; the last entry is their number
};

enum class Task { kValue, kGradient, kSecond };

// The order of the derivatives that a task takes.
constexpr int order(Task task) { return int(task); }
constexpr int n_inputs(Task task) { return task == Task::kValue ? 1 : task == Task::kGradient ? 2 : 4; }

// Rows are slots or observables, columns are samples.
template <class T>
struct Arrays {
  const T *angles, *weights, *direction, *shift;
  T *values, *gradient;
  int64_t n_samples;
};

// The kernels of one element type for one instruction set.
template <class T>
struct Kernels {
  int n_lanes;
  // Samples first, ..., first + count - 1, at most one per lane; false where an input is not
  // finite or too large.
  bool (*side_by_side)(Task, const Program&, const Arrays<T>&, int64_t first, int count, T* workspace);
  // One sample, its amplitudes spread over the lanes.
  bool (*spread)(Task, const Program&, const Arrays<T>&, int64_t sample, T* workspace);
  // Bytes of the workspace of the two.
  int64_t (*side_by_side_bytes)(Task, const Program&);
  int64_t (*spread_bytes)(Task, const Program&);
  // Nothing but multiplications with additions, to measure what the machine can do: returns how
  // many floating-point operations n rounds are.
  double (*multiply_add)(int64_t n);
};

}  // namespace qiff
