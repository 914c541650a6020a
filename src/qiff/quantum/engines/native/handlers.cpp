// The handlers of circuits that XLA calls: checks of the input, the choice of layout.
//
// Arrays have one row for each slot or observable and one column for each sample.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "kernels.hpp"

QIFF_TABLE(kernels, Kernels, kFloat, kDouble)

namespace qiff {
namespace {

ffi::Error invalid(const std::string& message) { return ffi::Error::InvalidArgument(message); }

constexpr int kMaxQubits = 26;
constexpr int64_t kMaxSlots = 1 << 27;

// Read a program; see `encode` in __init__.py. Returns what is wrong with it, or nothing: whatever the
// kernels use as an index is within bounds, or the arrays of the call have a wrong shape.
const char* decode(ffi::Span<const int32_t> words, ffi::Span<const double> coefficients, Program& program) {
  constexpr size_t kHeader = 5;
  if (words.size() < kHeader) return "the program is too short";
  const int32_t* w = words.begin();
  program.n_qubits = w[0], program.n_pairs = w[1], program.n_gates = w[2], program.n_terms = w[3],
  program.n_observables = w[4];
  if (program.n_qubits < 1 || program.n_qubits > kMaxQubits) return "the number of qubits is not supported";
  if (program.n_pairs < 0 || program.n_gates < 0 || program.n_terms < 0 || program.n_observables < 1)
    return "the program has a negative size";
  const size_t n = kHeader + 2 * size_t(program.n_pairs) + 4 * (size_t(program.n_gates) + program.n_terms);
  if (words.size() != n || coefficients.size() != size_t(program.n_terms)) return "the program has a wrong size";
  program.singlets = reinterpret_cast<const Pair*>(w + kHeader);
  program.gates = reinterpret_cast<const Gate*>(program.singlets + program.n_pairs);
  program.terms = reinterpret_cast<const Term*>(program.gates + program.n_gates);
  program.coefficients = coefficients.begin();
  const auto off = [&](int32_t bit) { return bit < 0 || bit >= program.n_qubits; };
  uint32_t paired = 0;
  for (int32_t p = 0; p < program.n_pairs; ++p)
    for (const int32_t bit : {program.singlets[p].bit, program.singlets[p].other}) {
      if (off(bit)) return "a singlet is on no qubit";
      if (paired >> bit & 1) return "a qubit is in two singlets";
      paired |= uint32_t(1) << bit;
    }
  int64_t n_slots = 0;
  for (int32_t g = 0; g < program.n_gates; ++g) {
    const Gate& gate = program.gates[g];
    if (gate.kind < 0 || gate.kind >= kKinds) return "a gate is unknown";
    if (off(gate.bit) || (kQubitsOf[gate.kind] == 2 && (off(gate.other) || gate.other == gate.bit)))
      return "a gate is on no qubit";
    n_slots += kAnglesOf[gate.kind];
  }
  if (n_slots > kMaxSlots) return "the program has too many angles";
  program.n_slots = int32_t(n_slots);
  std::vector<bool> read(n_slots);
  for (int32_t g = 0; g < program.n_gates; ++g) {
    const Gate& gate = program.gates[g];
    const int32_t n_angles = kAnglesOf[gate.kind];
    if (n_angles && (gate.slot < 0 || gate.slot > program.n_slots - n_angles)) return "a gate has no slot";
    for (int32_t a = 0; a < n_angles; ++a) {
      if (read[gate.slot + a]) return "two gates have one slot";
      read[gate.slot + a] = true;
    }
  }
  int32_t last = 0;
  for (int32_t t = 0; t < program.n_terms; ++t) {
    const Term& term = program.terms[t];
    if (term.observable < last || term.observable >= program.n_observables) return "a term has no observable";
    last = term.observable;
    if ((term.flip | term.phase) >> program.n_qubits) return "a term is on no qubit";
    if (term.n_y != __builtin_popcount(term.flip & term.phase)) return "a term has a wrong number of Y";
    if (!std::isfinite(program.coefficients[t])) return "a coefficient is not finite";
  }
  return nullptr;
}

// What is measured together with a term, from this on.
Measured measured(const Program& program, int32_t term) {
  const Measured word{Together::kWord, term, 0, 0, 0};
  if (term + 2 >= program.n_terms) return word;
  const Term &x = program.terms[term], &y = program.terms[term + 1], &z = program.terms[term + 2];
  for (int k = 1; k < 3; ++k)
    if (program.coefficients[term + k] != program.coefficients[term]) return word;
  const int32_t mask = y.phase, flip = z.flip;
  if (x.phase || z.phase != mask || x.flip != (mask | flip) || y.flip != x.flip || flip & mask) return word;
  const int bit = __builtin_ctz(mask | int32_t(1) << 30), other = mask ? 31 - __builtin_clz(mask) : 0;
  const int n_bits = __builtin_popcount(mask);
  if (n_bits == 2 && !flip && x.observable == z.observable) return {Together::kExchange, term, bit, other, 0};
  const bool begins = term == 0 || program.terms[term - 1].observable < x.observable;
  const bool ends = term + 3 == program.n_terms || program.terms[term + 3].observable > z.observable;
  if (n_bits == 1 && begins && ends && y.observable == x.observable + 1 && z.observable == x.observable + 2)
    return {Together::kVector, term, bit, bit, flip};
  return word;
}

// The groups of gates that commute, where the functions of a gate begin, and what is measured together.
struct Arrangement {
  std::vector<int32_t> groups, functions;
  std::vector<Measured> together;

  explicit Arrangement(Program& program) {
    int32_t used = -1, n_functions = 0;
    for (int32_t g = 0; g < program.n_gates; ++g) {
      const Gate& gate = program.gates[g];
      const int32_t qubits = 1 << gate.bit | (kQubitsOf[gate.kind] == 2 ? 1 << gate.other : 0);
      if (used & qubits) groups.push_back(g), used = 0;
      used |= qubits;
      functions.push_back(n_functions);
      n_functions += kFunctionsOf[gate.kind];
    }
    program.n_groups = int32_t(groups.size());
    groups.push_back(program.n_gates);
    functions.push_back(n_functions);
    program.groups = groups.data(), program.functions = functions.data();
    for (int32_t t = 0; t < program.n_terms; t += together.back().kind == Together::kWord ? 1 : 3)
      together.push_back(measured(program, t));
    program.n_measured = int32_t(together.size()), program.measured = together.data();
  }
};

// States larger than this do not fit a cache when every lane has its own.
constexpr int kMaxQubitsSideBySide = 10;
// Below this many amplitudes times gates a second thread costs more than it saves.
constexpr double kWorthAThread = 4000;

template <class T>
ffi::Error launch(ffi::ThreadPool& pool, Task task, const Program& program, const Arrays<T>& arrays) {
  const Kernels<T>& kernel = kernels<T>();
  const int64_t n = arrays.n_samples, dim = int64_t(1) << program.n_qubits;
  const bool spread = dim >= 2 * kernel.n_lanes &&
                      (program.n_qubits > kMaxQubitsSideBySide || 4 * n <= kernel.n_lanes);
  const int64_t per_unit = spread ? 1 : kernel.n_lanes, n_units = (n + per_unit - 1) / per_unit;
  const double work = double(n_units) * per_unit * dim * (program.n_gates + 1) * n_inputs(task) / kernel.n_lanes;
  const int64_t n_workers =
      work < kWorthAThread ? 1 : std::max<int64_t>(1, std::min<int64_t>(n_units, pool.num_threads()));
  const size_t bytes = spread ? kernel.spread_bytes(task, program) : kernel.side_by_side_bytes(task, program);
  std::atomic<bool> out_of_memory{false};
  const bool finite = for_each(pool, n_units, n_workers, bytes, [&](int64_t unit, void* space) {
    if (!space) return !(out_of_memory = true);
    T* workspace = static_cast<T*>(space);
    if (spread) return kernel.spread(task, program, arrays, unit, workspace);
    const int64_t first = unit * per_unit;
    return kernel.side_by_side(task, program, arrays, first, int(std::min(per_unit, n - first)), workspace);
  });
  if (out_of_memory) return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the states of a circuit");
  if (!finite) return invalid("the angles of a circuit and their cotangents must be finite, but some are NaN, infinite or, of a quadrupole "
                   "gate, above 1e5");
  return ffi::Error::Success();
}

using Input = ffi::AnyBuffer;
using Output = ffi::Result<ffi::AnyBuffer>;

// Rows of the array, or -1 if it is not a matrix of n columns of this type.
template <class Buffer>
int64_t rows(const Buffer& buffer, ffi::DataType type, int64_t n) {
  const auto shape = buffer.dimensions();
  return buffer.element_type() == type && shape.size() == 2 && shape[1] == n ? shape[0] : -1;
}

template <class T>
ffi::Error run(ffi::ThreadPool& pool, Task task, const Program& program, const Input* inputs, Output* values,
               Output* gradient) {
  Arrays<T> arrays{};
  arrays.n_samples = inputs[0].dimensions()[1];
  const T** in[] = {&arrays.angles, &arrays.weights, &arrays.direction, &arrays.shift};
  for (int i = 0; i < n_inputs(task); ++i) *in[i] = reinterpret_cast<const T*>(inputs[i].untyped_data());
  if (values) arrays.values = reinterpret_cast<T*>((*values)->untyped_data());
  if (gradient) arrays.gradient = reinterpret_cast<T*>((*gradient)->untyped_data());
  return launch(pool, task, program, arrays);
}

// Inputs are angles, weights, direction, shift, as many as a task has; outputs may be missing.
ffi::Error call(ffi::ThreadPool& pool, Task task, ffi::Span<const int32_t> words,
                ffi::Span<const double> coefficients, const Input* inputs, Output* values, Output* gradient) {
  Program program;
  if (const char* wrong = decode(words, coefficients, program)) return invalid(wrong);
  const Arrangement arrangement(program);
  const ffi::DataType type = inputs[0].element_type();
  if (inputs[0].dimensions().size() != 2) return invalid("the angles must be a matrix");
  const int64_t n = inputs[0].dimensions()[1];
  const int64_t sizes[] = {program.n_slots, program.n_observables, program.n_slots, program.n_observables};
  for (int i = 0; i < n_inputs(task); ++i)
    if (rows(inputs[i], type, n) != sizes[i]) return invalid("an input has a wrong shape or type");
  if ((values && rows(**values, type, n) != program.n_observables) ||
      (gradient && rows(**gradient, type, n) != program.n_slots))
    return invalid("an output has a wrong shape or type");
  if (type == ffi::DataType::F32) return run<float>(pool, task, program, inputs, values, gradient);
  if (type == ffi::DataType::F64) return run<double>(pool, task, program, inputs, values, gradient);
  return invalid("angles must be float32 or float64");
}

ffi::Error value(ffi::ThreadPool pool, ffi::Span<const int32_t> program, ffi::Span<const double> coefficients,
                 Input angles, Output values) {
  return call(pool, Task::kValue, program, coefficients, &angles, &values, nullptr);
}

ffi::Error slope(ffi::ThreadPool pool, ffi::Span<const int32_t> program, ffi::Span<const double> coefficients,
                 Input angles, Input weights, Output gradient) {
  const Input inputs[] = {angles, weights};
  return call(pool, Task::kGradient, program, coefficients, inputs, nullptr, &gradient);
}

ffi::Error gradient(ffi::ThreadPool pool, ffi::Span<const int32_t> program, ffi::Span<const double> coefficients,
                    Input angles, Input weights, Output values, Output gradient) {
  const Input inputs[] = {angles, weights};
  return call(pool, Task::kGradient, program, coefficients, inputs, &values, &gradient);
}

ffi::Error second(ffi::ThreadPool pool, ffi::Span<const int32_t> program, ffi::Span<const double> coefficients,
                  Input angles, Input weights, Input direction, Input shift, Output values, Output gradient) {
  const Input inputs[] = {angles, weights, direction, shift};
  return call(pool, Task::kSecond, program, coefficients, inputs, &values, &gradient);
}

auto bind() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<ffi::Span<const int32_t>>("program")
      .Attr<ffi::Span<const double>>("coefficients")
      .Arg<Input>();
}

}  // namespace
}  // namespace qiff

QIFF_EXPORT XLA_FFI_Error* qiff_value(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_slope(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_gradient(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_second(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_value, qiff::value, qiff::bind().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_slope, qiff::slope, qiff::bind().Arg<qiff::Input>().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_gradient, qiff::gradient,
                              qiff::bind().Arg<qiff::Input>().Ret<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    qiff_second, qiff::second,
    qiff::bind().Arg<qiff::Input>().Arg<qiff::Input>().Arg<qiff::Input>().Ret<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());

// n rounds of multiplications with additions; see kernels.hpp.
QIFF_EXPORT double qiff_multiply_add(bool is_double, int64_t n) {
  return is_double ? qiff::kernels<double>().multiply_add(n) : qiff::kernels<float>().multiply_add(n);
}

// The instruction set in use.
QIFF_EXPORT const char* qiff_instructions() {
  return qiff::isa() == qiff::Isa::kAvx512 ? "AVX-512" : qiff::isa() == qiff::Isa::kAvx2 ? "AVX2" : "portable";
}
