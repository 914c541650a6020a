// The handlers of the native engine, called by several threads at once, which share a pool of threads:
// what each of them finds must be, bit for bit, what one thread alone finds. `make test-threads`
// compiles this file, the handlers and the kernels with the thread sanitizer.
//
// The pool stands for that of XLA, whose synchronisation the sanitizer does not see; see
// CONTRIBUTING.md. With the argument `race` two threads write one number: the sanitizer must say so.

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels.hpp"
#include "xla/ffi/api/c_api.h"

extern "C" XLA_FFI_Error* qiff_value(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_slope(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_gradient(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_second(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_moments(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_weights(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_channels(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_orthogonal(XLA_FFI_CallFrame*);

struct XLA_FFI_Error {
  std::string message;
};

// A pool of threads, or none: then every task is refused and carried out by the caller.
struct XLA_FFI_ExecutionContext {
  explicit XLA_FFI_ExecutionContext(int n_threads) {
    for (int i = 0; i < n_threads; ++i) threads.emplace_back([this] { work(); });
  }
  ~XLA_FFI_ExecutionContext() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      closed = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
  }
  void schedule(std::function<void()> task) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      tasks.push_back(std::move(task));
    }
    changed.notify_one();
  }
  void work() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [this] { return closed || !tasks.empty(); });
      if (tasks.empty()) return;
      const std::function<void()> task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      task();
    }
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  std::vector<std::thread> threads;
  bool closed = false;
};

namespace {

XLA_FFI_Api api() {
  XLA_FFI_Api api{};
  api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
  api.XLA_FFI_Error_Create = [](XLA_FFI_Error_Create_Args* args) { return new XLA_FFI_Error{args->message}; };
  api.XLA_FFI_Error_GetMessage = [](XLA_FFI_Error_GetMessage_Args* args) {
    args->message = args->error->message.c_str();
  };
  api.XLA_FFI_Error_Destroy = [](XLA_FFI_Error_Destroy_Args* args) { delete args->error; };
  api.XLA_FFI_ThreadPool_Schedule = [](XLA_FFI_ThreadPool_Schedule_Args* args) -> XLA_FFI_Error* {
    if (args->ctx->threads.empty()) return new XLA_FFI_Error{"no pool"};
    args->ctx->schedule([task = args->task, data = args->data] { task(data); });
    return nullptr;
  };
  api.XLA_FFI_ThreadPool_NumThreads = [](XLA_FFI_ThreadPool_NumThreads_Args* args) -> XLA_FFI_Error* {
    *args->num_threads = int64_t(args->ctx->threads.size());
    return nullptr;
  };
  return api;
}

using Shape = std::vector<int64_t>;

// A call of a handler: the shapes of its arrays, its attributes by name, and the numbers of its inputs in one list.
// Products also have the groups of the atoms, behind the first inputs.
struct Case {
  XLA_FFI_Handler* handler;
  std::vector<Shape> inputs, outputs;
  std::map<std::string, std::vector<int32_t>> words;
  std::map<std::string, std::vector<double>> coefficients;
  std::vector<int32_t> groups;
  size_t n_before_groups;
  std::vector<double> numbers;
};

int64_t size(const std::vector<Shape>& shapes) {
  int64_t total = 0;
  for (const Shape& shape : shapes) {
    int64_t product = 1;
    for (const int64_t length : shape) product *= length;
    total += product;
  }
  return total;
}

Case make(XLA_FFI_Handler* handler, std::vector<Shape> inputs, std::vector<Shape> outputs,
          std::map<std::string, std::vector<int32_t>> words, std::map<std::string, std::vector<double>> coefficients,
          std::vector<int32_t> groups = {}, size_t n_before_groups = 0) {
  std::vector<double> numbers(size(inputs));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = double((i * 7919) % 1000) / 500 - 1;
  return {handler, inputs, outputs, words, coefficients, groups, n_before_groups, numbers};
}

// A circuit with every gate on the last qubits: its values, their gradient, and the derivative of both.
std::vector<Case> circuits(int n_qubits, int64_t n_samples) {
  int32_t n_slots = 0;
  constexpr int32_t n_observables = 2;
  std::vector<int32_t> gates;
  for (int32_t kind = 0; kind < qiff::kKinds; ++kind) {
    gates.insert(gates.end(), {kind, kind % n_qubits, (kind + 1) % n_qubits, n_slots});
    n_slots += qiff::kAnglesOf[kind];
  }
  std::vector<int32_t> words = {n_qubits, 1, qiff::kKinds, 3, n_observables, 0, 1};
  words.insert(words.end(), gates.begin(), gates.end());
  words.insert(words.end(), {0, 0, 1, 0, 0, 3, 0, 0, 1, 3, 3, 2});  // Z, XX and YY
  const std::map<std::string, std::vector<int32_t>> program = {{"program", words}};
  const std::map<std::string, std::vector<double>> coefficients = {{"coefficients", {0.5, -1.25, 0.75}}};
  const Shape angles = {n_slots, n_samples}, values = {n_observables, n_samples};
  return {make(qiff_value, {angles}, {values}, program, coefficients),
          make(qiff_slope, {angles, values}, {angles}, program, coefficients),
          make(qiff_gradient, {angles, values}, {values, angles}, program, coefficients),
          make(qiff_second, {angles, values, angles, values}, {values, angles}, program, coefficients)};
}

// Products for atoms of three groups and of none, enough of them for several threads.
std::vector<Case> products() {
  const std::vector<int32_t> ranks = {1, 40, 3, 33, 6, 9};  // rows and channels of each
  const Shape moments = {211, 10, 48}, weights = {3, 48, 82, 2}, some = {100, 211, 2}, rest = {93, 211, 2};
  std::vector<int32_t> groups, places;
  for (int32_t atom = 0; atom < 211; ++atom) groups.push_back(atom * 7 % 4 - 1);
  for (int32_t place = 193; place-- > 0;) places.push_back(place);
  const std::map<std::string, std::vector<int32_t>> words = {{"places", places}, {"shape", ranks}};
  return {make(qiff_channels, {moments, weights}, {some, rest}, words, {}, groups, 2),
          make(qiff_moments, {weights, some, rest}, {moments}, words, {}, groups, 1),
          make(qiff_weights, {moments, some, rest}, {weights}, words, {}, groups, 1)};
}

// Matrices of two shapes in a vector, enough of them for several threads.
Case orthogonal() {
  return make(qiff_orthogonal, {{20000}}, {{20000}}, {{"places", {3, 20, 30, 20, 12100, 10, 7, 40}}},
              {{"coefficients", {3.4445, -4.775, 2.0315}}});
}

struct Result {
  std::vector<double> numbers;
  std::string error;
  bool operator==(const Result& other) const {
    return error == other.error && numbers.size() == other.numbers.size() &&
           (!error.empty() ||
            !std::memcmp(numbers.data(), other.numbers.data(), sizeof(double) * numbers.size()));
  }
};

XLA_FFI_Buffer buffer(XLA_FFI_DataType type, const Shape& shape, void* data) {
  XLA_FFI_Buffer found{};
  found.struct_size = XLA_FFI_Buffer_STRUCT_SIZE;
  found.dtype = type, found.data = data, found.rank = int64_t(shape.size());
  found.dims = const_cast<int64_t*>(shape.data());
  return found;
}

// Call a handler as XLA does.
Result call(const Case& c, XLA_FFI_ExecutionContext& pool) {
  static const XLA_FFI_Api shared = api();
  Result result{std::vector<double>(size(c.outputs)), ""};
  std::vector<XLA_FFI_Buffer> buffers;
  const auto add = [&](const std::vector<Shape>& shapes, double* data) {
    for (const Shape& shape : shapes) {
      buffers.push_back(buffer(XLA_FFI_DataType_F64, shape, data));
      data += size({shape});
    }
  };
  add(c.inputs, const_cast<double*>(c.numbers.data()));
  const Shape n_groups = {int64_t(c.groups.size())};
  if (!c.groups.empty())
    buffers.insert(buffers.begin() + c.n_before_groups,
                   buffer(XLA_FFI_DataType_S32, n_groups, const_cast<int32_t*>(c.groups.data())));
  const int64_t n_inputs = int64_t(buffers.size());
  add(c.outputs, result.numbers.data());
  std::vector<void*> arguments;
  for (XLA_FFI_Buffer& each : buffers) arguments.push_back(&each);
  std::vector<XLA_FFI_ArgType> inputs(n_inputs, XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> outputs(c.outputs.size(), XLA_FFI_RetType_BUFFER);
  std::map<std::string, XLA_FFI_Array> arrays;  // in order of their names, as XLA has them
  for (const auto& [name, words] : c.words)
    arrays[name] = {XLA_FFI_DataType_S32, words.size(), const_cast<int32_t*>(words.data())};
  for (const auto& [name, coefficients] : c.coefficients)
    arrays[name] = {XLA_FFI_DataType_F64, coefficients.size(), const_cast<double*>(coefficients.data())};
  std::vector<XLA_FFI_ByteSpan> spans;
  std::vector<void*> attributes;
  for (auto& [name, array] : arrays) spans.push_back({name.data(), name.size()}), attributes.push_back(&array);
  std::vector<XLA_FFI_ByteSpan*> names;
  for (XLA_FFI_ByteSpan& span : spans) names.push_back(&span);
  std::vector<XLA_FFI_AttrType> types(names.size(), XLA_FFI_AttrType_ARRAY);
  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &shared;
  frame.ctx = &pool;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, n_inputs, inputs.data(), arguments.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, int64_t(outputs.size()), outputs.data(), arguments.data() + n_inputs};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, int64_t(names.size()), types.data(), names.data(), attributes.data()};
  if (XLA_FFI_Error* error = c.handler(&frame)) {
    result.error = error->message;
    delete error;
  }
  return result;
}

int race() {
  int number = 0;
  std::thread other([&] { ++number; });
  ++number;
  other.join();
  return number == 2 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && !std::strcmp(argv[1], "race")) return race();
  constexpr int kCallers = 4, kThreads = 4, kRepeats = 5;
  std::vector<Case> cases = products();
  cases.push_back(orthogonal());
  for (const Case& c : circuits(11, 5)) cases.push_back(c);   // amplitudes spread over lanes
  for (const Case& c : circuits(4, 203)) cases.push_back(c);  // samples side by side
  const size_t n_good = cases.size();
  for (Case c : circuits(4, 203)) {
    c.numbers[100] = std::numeric_limits<double>::quiet_NaN();
    cases.push_back(c);
  }
  XLA_FFI_ExecutionContext none(0), pool(kThreads);
  int n_calls = 0, n_wrong = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const Result expected = call(c, none);
    if (expected.error.empty() != (i < n_good)) {
      std::printf("one thread: %s\n", expected.error.c_str());
      return 1;
    }
    std::vector<int> wrong(kCallers);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < kCallers; ++caller)
      callers.emplace_back([&, caller] {
        for (int repeat = 0; repeat < kRepeats; ++repeat) wrong[caller] += !(call(c, pool) == expected);
      });
    for (std::thread& caller : callers) caller.join();
    for (const int each : wrong) n_wrong += each;
    n_calls += kCallers * kRepeats;
  }
  std::printf("%d calls by %d threads with a pool of %d: %d differ\n", n_calls, kCallers, kThreads, n_wrong);
  return n_wrong > 0;
}
