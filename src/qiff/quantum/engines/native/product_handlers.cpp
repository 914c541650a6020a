// The handlers of the channels of densities that XLA calls. With moments M, weights W of the group
// g of every atom, and channels Y, for every rank l with its rows m and its channels k,
//   T(M, W, Y) = sum M[a, m, f] W[g(a), f, k, s] Y[p(m, k), a, s]
// is linear in each of them. A handler computes the derivative of T in one from the other two. Every channel is
// one of each of some sets s, and the places p of all rows and channels are those of the rows of Y.

#include <algorithm>
#include <vector>

#include "dispatch.hpp"
#include "products.hpp"

QIFF_TABLE(products, Products, kFloatProducts, kDoubleProducts)

namespace qiff {
namespace {

struct Rank {
  int64_t rows, channels;             // of one atom
  int64_t first_row, first_channel;   // among those of all ranks
  int64_t first_place;                // among rows times channels
};

struct Sizes {
  std::vector<Rank> ranks;
  int64_t n_atoms, n_features, n_groups, n_sets;
  int64_t n_rows = 0, n_channels = 0, n_places = 0;
  const int32_t* places;
  std::vector<std::vector<int64_t>> members;  // atoms of every group

  Sizes(ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places, ffi::Span<const int64_t> weights,
        ffi::Buffer<ffi::S32>& groups)
      : n_atoms(int64_t(groups.element_count())), n_features(weights[1]), n_groups(weights[0]), n_sets(weights[3]),
        places(places.begin()), members(n_groups) {
    for (size_t l = 0; l + 1 < shape.size(); l += 2) {
      ranks.push_back({shape[l], shape[l + 1], n_rows, n_channels, n_places});
      n_rows += shape[l], n_channels += shape[l + 1], n_places += int64_t(shape[l]) * shape[l + 1];
    }
    for (int64_t a = 0; a < n_atoms; ++a)
      if (const int32_t g = groups.typed_data()[a]; g >= 0 && g < n_groups) members[g].push_back(a);
  }
  int64_t moment(int64_t atom, const Rank& rank, int64_t row) const {
    return (atom * n_rows + rank.first_row + row) * n_features;
  }
  int64_t weight(int64_t group, int64_t feature, const Rank& rank) const {
    return ((group * n_features + feature) * n_channels + rank.first_channel) * n_sets;
  }
  int64_t work() const { return n_atoms * n_places * n_sets * n_features; }

  // Copy the channels of all sets of a row of an atom.
  template <class T>
  void load(T* to, const T* channels, int64_t atom, const Rank& rank, int64_t row) const {
    each(channels + atom * n_sets, rank, row, [&](int64_t near, const T* far, auto n) {
      for (int64_t s = 0; s < n; ++s) to[near + s] = far[s];
    });
  }
  template <class T>
  void store(const T* from, T* channels, int64_t atom, const Rank& rank, int64_t row) const {
    each(channels + atom * n_sets, rank, row, [&](int64_t near, T* far, auto n) {
      for (int64_t s = 0; s < n; ++s) far[s] = from[near + s];
    });
  }

 private:
  // Call `copy` with every channel, there and here, and the number of sets, which is known to the compiler if it is 4.
  template <class T, class Copy>
  void each(T* channels, const Rank& rank, int64_t row, const Copy& copy) const {
    const int32_t* place = places + rank.first_place + row * rank.channels;
    const int64_t stride = n_atoms * n_sets;
    const auto all = [&](auto n) {
      for (int64_t k = 0; k < rank.channels; ++k) copy(k * n, channels + place[k] * stride, n);
    };
    if (n_sets == 4) all(std::integral_constant<int64_t, 4>{});
    else all(n_sets);
  }
};

// A matrix whose rows are padded.
template <class T>
struct Padded {
  int64_t width;
  std::vector<T> values;

  Padded(int64_t n_rows, int64_t n_columns)
      : width((n_columns + products<T>().n_lanes - 1) / products<T>().n_lanes * products<T>().n_lanes),
        values(n_rows * width) {}
  T* operator[](int64_t row) { return values.data() + row * width; }
};

constexpr int64_t kAtomsOfTask = 12;
constexpr int64_t kWorthAThread = 1 << 20;  // multiplications with additions

// Rows of the atoms of one group, times the matrix of the group and rank, in both directions:
// from moments to channels, or back.
template <class T>
void by_group(ffi::ThreadPool& pool, const Sizes& sizes, const T* weights, const T* in, T* out, bool back) {
  struct Task {
    const Rank* rank;
    int64_t group, first, end;
    Padded<T>* matrix;
  };
  std::vector<Padded<T>> matrices;
  std::vector<Task> tasks;
  matrices.reserve(sizes.n_groups * sizes.ranks.size());
  std::fill_n(out, sizes.n_atoms * (back ? sizes.n_rows * sizes.n_features : sizes.n_places * sizes.n_sets), T(0));
  for (int64_t g = 0; g < sizes.n_groups; ++g) {
    const int64_t n = int64_t(sizes.members[g].size());
    for (const Rank& rank : sizes.ranks) {
      if (!n) break;
      const int64_t n_channels = rank.channels * sizes.n_sets;
      Padded<T> matrix(back ? n_channels : sizes.n_features, back ? sizes.n_features : n_channels);
      for (int64_t f = 0; f < sizes.n_features; ++f) {
        const T* own = weights + sizes.weight(g, f, rank);
        if (!back) std::copy_n(own, n_channels, matrix[f]);
        for (int64_t k = 0; back && k < n_channels; ++k) matrix[k][f] = own[k];
      }
      matrices.push_back(std::move(matrix));
      for (int64_t first = 0; first < n; first += kAtomsOfTask)
        tasks.push_back({&rank, g, first, std::min(n, first + kAtomsOfTask), &matrices.back()});
    }
  }
  const int64_t n_workers = sizes.work() < kWorthAThread ? 1 : pool.num_threads();
  for_each(pool, int64_t(tasks.size()), n_workers, 0, [&](int64_t index, void*) {
    const Task& task = tasks[index];
    const Rank& rank = *task.rank;
    const int64_t n_channels = rank.channels * sizes.n_sets;
    std::vector<T> near((task.end - task.first) * rank.rows * n_channels);  // channels of these atoms
    std::vector<const T*> rows;
    std::vector<T*> to;
    const auto each = [&](const auto& function) {
      T* at = near.data();
      for (int64_t i = task.first; i < task.end; ++i)
        for (int64_t row = 0; row < rank.rows; ++row, at += n_channels) function(sizes.members[task.group][i], row, at);
    };
    each([&](int64_t atom, int64_t row, T* at) {
      const int64_t moment = sizes.moment(atom, rank, row);
      if (back) sizes.load(at, in, atom, rank, row);
      rows.push_back(back ? at : in + moment);
      to.push_back(back ? out + moment : at);
    });
    const int64_t n = back ? n_channels : sizes.n_features, n_columns = back ? sizes.n_features : n_channels;
    products<T>().multiply(rows.data(), int64_t(rows.size()), 1, task.matrix->values.data(), n, n_columns, to.data());
    if (!back) each([&](int64_t atom, int64_t row, T* at) { sizes.store(at, out, atom, rank, row); });
    return true;
  });
}

// The derivative in the weights: for every group and rank, a sum over the rows of its atoms.
template <class T>
void of_weights(ffi::ThreadPool& pool, const Sizes& sizes, const T* moments, const T* channels, T* out) {
  const int64_t n_ranks = int64_t(sizes.ranks.size());
  const int64_t n_workers = sizes.work() < kWorthAThread ? 1 : pool.num_threads();
  for_each(pool, sizes.n_groups * n_ranks, n_workers, 0, [&](int64_t index, void*) {
    const int64_t group = index / n_ranks, n = int64_t(sizes.members[group].size());
    const Rank& rank = sizes.ranks[index % n_ranks];
    const int64_t n_channels = rank.channels * sizes.n_sets;
    std::vector<T> left(n * rank.rows * sizes.n_features);
    Padded<T> right(n * rank.rows, n_channels);
    for (int64_t i = 0, r = 0; i < n; ++i)
      for (int64_t row = 0; row < rank.rows; ++row, ++r) {
        const int64_t atom = sizes.members[group][i];
        std::copy_n(moments + sizes.moment(atom, rank, row), sizes.n_features, left.data() + r * sizes.n_features);
        sizes.load(right[r], channels, atom, rank, row);
      }
    std::vector<const T*> rows;
    std::vector<T*> to;
    for (int64_t f = 0; f < sizes.n_features; ++f) {
      rows.push_back(left.data() + f);
      to.push_back(out + sizes.weight(group, f, rank));
    }
    products<T>().multiply(rows.data(), sizes.n_features, sizes.n_features, right.values.data(), n * rank.rows,
                           n_channels, to.data());
    return true;
  });
}

using Shape = ffi::Span<const int64_t>;
using Input = ffi::AnyBuffer;

bool is(const Input& buffer, ffi::DataType type, std::initializer_list<int64_t> shape) {
  const auto found = buffer.dimensions();
  return buffer.element_type() == type && std::equal(found.begin(), found.end(), shape.begin(), shape.end());
}

enum class Factor { kMoments, kWeights, kChannels };

template <class T>
void run(ffi::ThreadPool& pool, Factor wanted, const Sizes& sizes, const Input& one, const Input& other, Input& out) {
  const T *first = reinterpret_cast<const T*>(one.untyped_data()), *second = reinterpret_cast<const T*>(other.untyped_data());
  T* to = reinterpret_cast<T*>(out.untyped_data());
  if (wanted == Factor::kWeights) return of_weights<T>(pool, sizes, first, second, to);
  by_group<T>(pool, sizes, second, first, to, wanted == Factor::kMoments);
}

// Inputs are the moments or the channels, then the weights, or the channels if those are wanted.
ffi::Error call(ffi::ThreadPool& pool, Factor wanted, ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places,
                Input one, Input other, ffi::Buffer<ffi::S32> groups, ffi::Result<Input> result) {
  const auto invalid = [] { return ffi::Error::InvalidArgument("an array of a product has a wrong shape or type"); };
  const Input& weights = wanted == Factor::kWeights ? *result : other;
  if (weights.dimensions().size() != 4 || shape.size() % 2) return invalid();
  for (const int32_t size : shape)
    if (size < 0) return invalid();
  const Sizes sizes(shape, places, weights.dimensions(), groups);
  std::vector<int32_t> sorted(places.begin(), places.end());
  std::sort(sorted.begin(), sorted.end());
  if (int64_t(sorted.size()) != sizes.n_places) return invalid();
  for (int32_t p = 0; p < sizes.n_places; ++p)
    if (sorted[p] != p) return invalid();
  const ffi::DataType type = one.element_type();
  const Input& moments = wanted == Factor::kMoments ? *result : one;
  const Input& channels = wanted == Factor::kMoments ? one : wanted == Factor::kWeights ? other : *result;
  if (!is(moments, type, {sizes.n_atoms, sizes.n_rows, sizes.n_features}) ||
      !is(weights, type, {sizes.n_groups, sizes.n_features, sizes.n_channels, sizes.n_sets}) ||
      !is(channels, type, {sizes.n_places, sizes.n_atoms, sizes.n_sets}))
    return invalid();
  if (type == ffi::DataType::F32) return run<float>(pool, wanted, sizes, one, other, *result), ffi::Error::Success();
  if (type == ffi::DataType::F64) return run<double>(pool, wanted, sizes, one, other, *result), ffi::Error::Success();
  return invalid();
}

template <Factor kWanted>
ffi::Error handler(ffi::ThreadPool pool, ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places, Input one,
                   Input other, ffi::Buffer<ffi::S32> groups, ffi::Result<Input> result) {
  return call(pool, kWanted, shape, places, one, other, groups, result);
}

auto bind() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<ffi::Span<const int32_t>>("shape")
      .Attr<ffi::Span<const int32_t>>("places")
      .Arg<Input>()
      .Arg<Input>()
      .Arg<ffi::Buffer<ffi::S32>>()
      .Ret<Input>();
}

}  // namespace
}  // namespace qiff

QIFF_EXPORT XLA_FFI_Error* qiff_moments(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_weights(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_channels(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_moments, qiff::handler<qiff::Factor::kMoments>, qiff::bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_weights, qiff::handler<qiff::Factor::kWeights>, qiff::bind());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_channels, qiff::handler<qiff::Factor::kChannels>, qiff::bind());
