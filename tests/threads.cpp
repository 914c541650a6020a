// The handlers of the native engine, called by several threads at once, which share a pool of threads:
// what each of them finds must be, bit for bit, what one thread alone finds. `make test-tsan` compiles
// this file, the handlers and the kernels with the thread sanitizer.
//
// The pool stands for that of XLA, whose synchronisation the sanitizer does not see; see
// CONTRIBUTING.md. With the argument `race` two threads write one number: the sanitizer must say so.

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels.hpp"
#include "xla/ffi/api/c_api.h"

extern "C" XLA_FFI_Error* qiff_value(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_gradient(XLA_FFI_CallFrame*);
extern "C" XLA_FFI_Error* qiff_second(XLA_FFI_CallFrame*);

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

// A circuit with every gate on the last qubits, and its inputs for some samples.
struct Case {
  Case(int n_qubits, int64_t n_samples) : n_samples(n_samples) {
    std::vector<int32_t> gates;
    for (int32_t kind = 0; kind < qiff::kKinds; ++kind) {
      gates.insert(gates.end(), {kind, kind % n_qubits, (kind + 1) % n_qubits, n_slots});
      n_slots += qiff::kAnglesOf[kind];
    }
    words = {n_qubits, 1, qiff::kKinds, 3, n_observables, 0, 1};
    words.insert(words.end(), gates.begin(), gates.end());
    words.insert(words.end(), {0, 0, 1, 0, 0, 3, 0, 0, 1, 3, 3, 2});  // Z, XX and YY
    for (int64_t i = 0; i < 2 * (n_slots + n_observables) * n_samples; ++i)
      numbers.push_back(double((i * 7919) % 1000) / 500 - 1);
  }
  int64_t n_samples;
  int32_t n_slots = 0, n_observables = 2;
  std::vector<int32_t> words;
  std::vector<double> coefficients = {0.5, -1.25, 0.75}, numbers;
};

struct Result {
  std::vector<double> numbers;
  std::string error;
  bool operator==(const Result& other) const {
    return error == other.error && numbers.size() == other.numbers.size() &&
           (!error.empty() ||
            !std::memcmp(numbers.data(), other.numbers.data(), sizeof(double) * numbers.size()));
  }
};

// Call a handler with 1, 2 or 4 inputs, as XLA does.
Result call(XLA_FFI_Handler* handler, int n_inputs, const Case& c, XLA_FFI_ExecutionContext& pool) {
  static const XLA_FFI_Api shared = api();
  const int n_outputs = n_inputs == 1 ? 1 : 2;
  Result result{std::vector<double>((c.n_slots + c.n_observables) * c.n_samples), ""};
  std::vector<std::vector<int64_t>> shapes;
  std::vector<XLA_FFI_Buffer> buffers;
  const double* in = c.numbers.data();
  double* out = result.numbers.data();
  for (int i = 0; i < n_inputs + n_outputs; ++i) {
    const bool is_input = i < n_inputs;
    const int32_t n_rows = (is_input ? i : i - n_inputs + 1) % 2 ? c.n_observables : c.n_slots;
    shapes.push_back({n_rows, c.n_samples});
    XLA_FFI_Buffer buffer{};
    buffer.struct_size = XLA_FFI_Buffer_STRUCT_SIZE;
    buffer.dtype = XLA_FFI_DataType_F64;
    buffer.data = is_input ? const_cast<double*>(in) : out;
    buffer.rank = 2;
    buffers.push_back(buffer);
    (is_input ? in : const_cast<const double*&>(out)) += n_rows * c.n_samples;
  }
  std::vector<void*> arguments;
  for (size_t i = 0; i < buffers.size(); ++i) {
    buffers[i].dims = shapes[i].data();
    arguments.push_back(&buffers[i]);
  }
  std::vector<XLA_FFI_ArgType> inputs(n_inputs, XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> outputs(n_outputs, XLA_FFI_RetType_BUFFER);
  XLA_FFI_Array coefficients{XLA_FFI_DataType_F64, c.coefficients.size(), const_cast<double*>(c.coefficients.data())};
  XLA_FFI_Array words{XLA_FFI_DataType_S32, c.words.size(), const_cast<int32_t*>(c.words.data())};
  XLA_FFI_AttrType types[] = {XLA_FFI_AttrType_ARRAY, XLA_FFI_AttrType_ARRAY};
  XLA_FFI_ByteSpan first{"coefficients", 12}, second{"program", 7};
  XLA_FFI_ByteSpan* names[] = {&first, &second};
  void* attributes[] = {&coefficients, &words};
  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &shared;
  frame.ctx = &pool;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, n_inputs, inputs.data(), arguments.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, n_outputs, outputs.data(), arguments.data() + n_inputs};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, 2, types, names, attributes};
  if (XLA_FFI_Error* error = handler(&frame)) {
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
  struct {
    XLA_FFI_Handler* handler;
    int n_inputs;
  } const tasks[] = {{qiff_value, 1}, {qiff_gradient, 2}, {qiff_second, 4}};
  std::vector<Case> cases = {{4, 203}, {11, 5}};  // samples side by side; amplitudes spread over lanes
  cases.push_back(cases[0]);
  cases.back().numbers[100] = std::numeric_limits<double>::quiet_NaN();
  XLA_FFI_ExecutionContext none(0), pool(kThreads);
  int n_calls = 0, n_wrong = 0;
  for (const Case& c : cases) {
    for (const auto& task : tasks) {
      const Result expected = call(task.handler, task.n_inputs, c, none);
      if (expected.error.empty() != (&c != &cases.back())) {
        std::printf("one thread: %s\n", expected.error.c_str());
        return 1;
      }
      std::vector<int> wrong(kCallers);
      std::vector<std::thread> callers;
      for (int caller = 0; caller < kCallers; ++caller)
        callers.emplace_back([&, caller] {
          for (int repeat = 0; repeat < kRepeats; ++repeat)
            wrong[caller] += !(call(task.handler, task.n_inputs, c, pool) == expected);
        });
      for (std::thread& caller : callers) caller.join();
      for (const int each : wrong) n_wrong += each;
      n_calls += kCallers * kRepeats;
    }
  }
  std::printf("%d calls by %d threads with a pool of %d: %d differ\n", n_calls, kCallers, kThreads, n_wrong);
  return n_wrong > 0;
}
