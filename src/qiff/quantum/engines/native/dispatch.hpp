// What all handlers share: the choice of the instruction set, threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

#define QIFF_EXPORT extern "C" __attribute__((visibility("default")))

namespace qiff {

enum class Isa { kPortable, kAvx2, kAvx512 };

inline Isa isa() {
#ifdef QIFF_X86
  static const Isa found = [] {
    __builtin_cpu_init();
    const char* wanted = std::getenv("QIFF_INSTRUCTIONS");  // at most these: portable, AVX2 or AVX-512
    const std::string limit = wanted ? wanted : "AVX-512";
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    if (avx512 && limit == "AVX-512") return Isa::kAvx512;
    return avx2 && limit != "portable" ? Isa::kAvx2 : Isa::kPortable;
  }();
  return found;
#else
  return Isa::kPortable;
#endif
}

#define QIFF_DECLARE(isa, Table, of_float, of_double) \
  namespace isa {                                     \
  extern const qiff::Table<float> of_float;           \
  extern const qiff::Table<double> of_double;         \
  }
#ifdef QIFF_X86
#define QIFF_DECLARE_ALL(...)         \
  QIFF_DECLARE(portable, __VA_ARGS__) \
  QIFF_DECLARE(avx2, __VA_ARGS__)     \
  QIFF_DECLARE(avx512, __VA_ARGS__)
#define QIFF_CHOOSE(name) \
  (isa() == Isa::kAvx512 ? avx512::name : isa() == Isa::kAvx2 ? avx2::name : portable::name)
#else
#define QIFF_DECLARE_ALL(...) QIFF_DECLARE(portable, __VA_ARGS__)
#define QIFF_CHOOSE(name) portable::name
#endif

// Define `chosen<T>()`, the table of kernels for this machine; outside of any namespace.
#define QIFF_TABLE(chosen, Table, of_float, of_double)                          \
  QIFF_DECLARE_ALL(Table, of_float, of_double)                                  \
  namespace qiff {                                                              \
  namespace {                                                                   \
  template <class T>                                                            \
  const Table<T>& chosen();                                                     \
  template <>                                                                   \
  const Table<float>& chosen<float>() { return QIFF_CHOOSE(of_float); }         \
  template <>                                                                   \
  const Table<double>& chosen<double>() { return QIFF_CHOOSE(of_double); }      \
  }                                                                             \
  }

// Call work(i, workspace) for i < n, on the threads of the pool and on this one, each of which has a
// workspace of its own, or none if it is empty or there is no memory; true if all calls are.
template <class Work>
bool for_each(ffi::ThreadPool& pool, int64_t n, int64_t n_workers, size_t bytes, const Work& work) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::atomic<bool> good{true};
    std::mutex mutex;
    std::condition_variable finished;
  };
  const auto run = [n, bytes, &work](Shared& shared) {
    constexpr size_t kAlignment = 64;
    std::unique_ptr<void, decltype(&std::free)> space(nullptr, std::free);
    int64_t mine = 0;
    for (int64_t i; (i = shared.next.fetch_add(1)) < n; ++mine) {
      if (bytes && !space) space.reset(std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment));
      if (!work(i, space.get())) shared.good = false;
    }
    if (mine && shared.done.fetch_add(mine) + mine == n) {
      std::lock_guard<std::mutex> lock(shared.mutex);
      shared.finished.notify_one();
    }
  };
  // A task that starts when all is done finds no i left and touches nothing but `shared`.
  const auto shared = std::make_shared<Shared>();
  for (int64_t worker = 1; worker < n_workers; ++worker) pool.Schedule([shared, run] { run(*shared); });
  run(*shared);
  for (int spin = 0; spin < 20000 && shared->done < n; ++spin) {
  }
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->finished.wait(lock, [&] { return shared->done == n; });
  return shared->good;
}

}  // namespace qiff
