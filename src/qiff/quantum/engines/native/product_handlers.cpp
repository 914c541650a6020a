// The handlers of the channels of densities that XLA calls. With moments M, weights W of the group
// g of every atom, and channels Y, for every rank l with its rows m and its channels k,
//   T(M, W, Y) = sum M[a, m, f] W[g(a), f, k, s] Y[p(m, k), a, s]
// is linear in each of them. A handler computes the derivative of T in one from the other two. Every channel is
// one of each of some sets s, and the places p of all rows and channels are those of the rows of Y.

#include <algorithm>
#include <cstring>
#include <memory>
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

  // Copy the channels of a rank of some atoms: here in a row for each row of each atom, `width` apart; there at
  // the places.
  template <class T>
  void load(T* to, int64_t width, T* const* at, const int64_t* atoms, int64_t n, const Rank& rank) const {
    each(at, atoms, n, rank, [&](int64_t row, int64_t near, const T* far, auto sets) {
      std::memcpy(to + row * width + near, far, sets * sizeof(T));
    });
  }
  template <class T>
  void store(const T* from, int64_t width, T* const* at, const int64_t* atoms, int64_t n, const Rank& rank) const {
    each(at, atoms, n, rank, [&](int64_t row, int64_t near, T* far, auto sets) {
      std::memcpy(far, from + row * width + near, sets * sizeof(T));
    });
  }

 private:
  // Call `copy` with the row and the channel here, the channel there, and the number of sets, which is known to
  // the compiler if it is 4. Atoms are the innermost loop, as they are there.
  template <class T, class Copy>
  void each(T* const* at, const int64_t* atoms, int64_t n, const Rank& rank, const Copy& copy) const {
    const auto all = [&](auto sets) {
      for (int64_t row = 0; row < rank.rows; ++row)
        for (int64_t k = 0; k < rank.channels; ++k) {
          T* far = at[places[rank.first_place + row * rank.channels + k]];
          for (int64_t i = 0; i < n; ++i) copy(i * rank.rows + row, k * sets, far + atoms[i] * sets, sets);
        }
    };
    if (n_sets == 4) all(std::integral_constant<int64_t, 4>{});
    else all(n_sets);
  }
};

// The weights of the channels of a group and rank, features by channels or, to go back, channels by features.
template <class T>
struct Weights {
  const T* first;
  int64_t width;
  std::unique_ptr<T[]> copied;  // unless the weights can be read where they are

  Weights(const Sizes& sizes, const T* weights, int64_t group, const Rank& rank, bool back) {
    const int64_t n_channels = rank.channels * sizes.n_sets, n_features = sizes.n_features;
    const T* from = weights + sizes.weight(group, 0, rank);
    const int64_t from_width = sizes.n_channels * sizes.n_sets;
    first = from, width = from_width;
    if (!back && n_channels == products<T>().padded(n_channels)) return;
    width = products<T>().padded(back ? n_features : n_channels);
    copied.reset(new T[(back ? n_channels : n_features) * width]);
    first = copied.get();
    if (back) products<T>().transpose(from, from_width, n_features, n_channels, copied.get(), width);
    for (int64_t f = 0; !back && f < n_features; ++f)
      std::fill(std::copy_n(from + f * from_width, n_channels, &copied[f * width]), &copied[f * width] + width, T(0));
  }
};

constexpr int64_t kAtomsOfTask = 12;

// Rows of the atoms of one group, times the matrix of the group and rank, in both directions:
// from moments to channels, or back; false if there is no memory.
template <class T>
bool by_group(ffi::ThreadPool& pool, const Sizes& sizes, const T* weights, T* moments, T* const* channels, bool back) {
  struct Task {
    const Rank* rank;
    const int64_t* atoms;
    int64_t n_atoms;
    const Weights<T>* weights;
  };
  std::vector<Weights<T>> matrices;
  std::vector<Task> tasks;
  matrices.reserve(sizes.n_groups * sizes.ranks.size());
  int64_t n_members = 0, largest = 0;
  for (int64_t g = 0; g < sizes.n_groups; ++g) {
    const std::vector<int64_t>& members = sizes.members[g];
    const int64_t n = int64_t(members.size());
    n_members += n;
    for (const Rank& rank : sizes.ranks) {
      if (!n) break;
      matrices.emplace_back(sizes, weights, g, rank, back);
      largest = std::max(largest, rank.rows * rank.channels * sizes.n_sets);
      for (int64_t first = 0; first < n; first += kAtomsOfTask)
        tasks.push_back({&rank, members.data() + first, std::min(n - first, kAtomsOfTask), &matrices.back()});
    }
  }
  if (n_members < sizes.n_atoms) {  // those of no group have zeros
    if (back) std::fill_n(moments, sizes.n_atoms * sizes.n_rows * sizes.n_features, T(0));
    for (int64_t p = 0; !back && p < sizes.n_places; ++p) std::fill_n(channels[p], sizes.n_atoms * sizes.n_sets, T(0));
  }
  const int64_t n_workers = sizes.work() < kWorthAThread ? 1 : pool.num_threads();
  const size_t bytes = kAtomsOfTask * largest * sizeof(T);
  return for_each(pool, int64_t(tasks.size()), n_workers, bytes, [&](int64_t index, void* space) {
    if (bytes && !space) return false;
    const auto& [rank, atoms, n_atoms, matrix] = tasks[index];
    const int64_t n_channels = rank->channels * sizes.n_sets, n_rows = n_atoms * rank->rows;
    T* near = static_cast<T*>(space);  // channels of these atoms
    if (back) sizes.load(near, n_channels, channels, atoms, n_atoms, *rank);
    std::vector<const T*> rows(n_rows);
    std::vector<T*> to(n_rows);
    for (int64_t i = 0; i < n_rows; ++i) {
      T *moment = moments + sizes.moment(atoms[i / rank->rows], *rank, i % rank->rows), *at = near + i * n_channels;
      rows[i] = back ? at : moment;
      to[i] = back ? moment : at;
    }
    const int64_t n = back ? n_channels : sizes.n_features, n_columns = back ? sizes.n_features : n_channels;
    products<T>().multiply(rows.data(), n_rows, 1, matrix->first, matrix->width, n, n_columns, to.data());
    if (!back) sizes.store(near, n_channels, channels, atoms, n_atoms, *rank);
    return true;
  });
}

// The derivative in the weights: for every group and rank, a sum over the rows of its atoms; false if there is no
// memory.
template <class T>
bool of_weights(ffi::ThreadPool& pool, const Sizes& sizes, const T* moments, T* const* channels, T* out) {
  const int64_t n_ranks = int64_t(sizes.ranks.size());
  const int64_t n_workers = sizes.work() < kWorthAThread ? 1 : pool.num_threads();
  size_t bytes = 0;  // of both factors of the largest product
  for (const std::vector<int64_t>& members : sizes.members)
    for (const Rank& rank : sizes.ranks) {
      const int64_t width = sizes.n_features + products<T>().padded(rank.channels * sizes.n_sets);
      bytes = std::max(bytes, members.size() * rank.rows * width * sizeof(T));
    }
  return for_each(pool, sizes.n_groups * n_ranks, n_workers, bytes, [&](int64_t index, void* space) {
    if (bytes && !space) return false;
    const int64_t group = index / n_ranks, n = int64_t(sizes.members[group].size());
    const Rank& rank = sizes.ranks[index % n_ranks];
    const int64_t n_channels = rank.channels * sizes.n_sets, n_rows = n * rank.rows, width = products<T>().padded(n_channels);
    const int64_t* atoms = sizes.members[group].data();
    T *left = static_cast<T*>(space), *right = left + n_rows * sizes.n_features;
    for (int64_t r = 0; r < n_rows; ++r)
      std::copy_n(moments + sizes.moment(atoms[r / rank.rows], rank, r % rank.rows), sizes.n_features,
                  left + r * sizes.n_features);
    sizes.load(right, width, channels, atoms, n, rank);
    std::vector<const T*> rows(sizes.n_features);
    std::vector<T*> to(sizes.n_features);
    for (int64_t f = 0; f < sizes.n_features; ++f)
      rows[f] = left + f, to[f] = out + sizes.weight(group, f, rank);
    products<T>().multiply(rows.data(), sizes.n_features, sizes.n_features, right, width, n_rows,
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
ffi::Error run(ffi::ThreadPool& pool, Factor wanted, const Sizes& sizes, const Input& moments, const Input& weights,
               const std::vector<Input>& parts) {
  std::vector<T*> channels;
  for (const Input& part : parts)
    for (int64_t p = 0; p < part.dimensions()[0]; ++p)
      channels.push_back(static_cast<T*>(part.untyped_data()) + p * sizes.n_atoms * sizes.n_sets);
  T *of_atoms = static_cast<T*>(moments.untyped_data()), *of_groups = static_cast<T*>(weights.untyped_data());
  const bool good = wanted == Factor::kWeights
                        ? of_weights<T>(pool, sizes, of_atoms, channels.data(), of_groups)
                        : by_group<T>(pool, sizes, of_groups, of_atoms, channels.data(), wanted == Factor::kMoments);
  if (good) return ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the channels of a density");
}

// Compute the factor that is wanted from the others. The channels are in parts, one after the other.
ffi::Error call(ffi::ThreadPool& pool, Factor wanted, ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places,
                const Input& moments, const Input& weights, ffi::Buffer<ffi::S32>& groups,
                const std::vector<Input>& parts) {
  const auto invalid = [] { return ffi::Error::InvalidArgument("an array of a product has a wrong shape or type"); };
  if (weights.dimensions().size() != 4 || shape.size() % 2) return invalid();
  for (const int32_t size : shape)
    if (size < 0) return invalid();
  const Sizes sizes(shape, places, weights.dimensions(), groups);
  if (int64_t(places.size()) != sizes.n_places) return invalid();
  std::vector<bool> taken(sizes.n_places);
  for (const int32_t place : places) {
    if (place < 0 || place >= sizes.n_places || taken[place]) return invalid();
    taken[place] = true;
  }
  const ffi::DataType type = moments.element_type();
  int64_t n_places = 0;
  for (const Input& part : parts) {
    const int64_t n = part.dimensions().size() ? part.dimensions()[0] : 0;
    if (!is(part, type, {n, sizes.n_atoms, sizes.n_sets})) return invalid();
    n_places += n;
  }
  if (n_places != sizes.n_places || !is(moments, type, {sizes.n_atoms, sizes.n_rows, sizes.n_features}) ||
      !is(weights, type, {sizes.n_groups, sizes.n_features, sizes.n_channels, sizes.n_sets}))
    return invalid();
  if (type == ffi::DataType::F32) return run<float>(pool, wanted, sizes, moments, weights, parts);
  if (type == ffi::DataType::F64) return run<double>(pool, wanted, sizes, moments, weights, parts);
  return invalid();
}

// Arrays of a number that is not known here; those that are missing are found when their number is compared.
std::vector<Input> all_of(const ffi::RemainingArgs& arrays) {
  std::vector<Input> found;
  for (size_t i = 0; i < arrays.size(); ++i)
    if (const auto array = arrays.get<Input>(i); array.has_value()) found.push_back(*array);
  return found;
}
std::vector<Input> all_of(const ffi::RemainingRets& arrays) {
  std::vector<Input> found;
  for (size_t i = 0; i < arrays.size(); ++i)
    if (auto array = arrays.get<Input>(i); array.has_value()) found.push_back(**array);
  return found;
}

ffi::Error channels(ffi::ThreadPool pool, ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places,
                    Input moments, Input weights, ffi::Buffer<ffi::S32> groups, ffi::RemainingRets parts) {
  return call(pool, Factor::kChannels, shape, places, moments, weights, groups, all_of(parts));
}

ffi::Error moments(ffi::ThreadPool pool, ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places,
                   Input weights, ffi::Buffer<ffi::S32> groups, ffi::RemainingArgs parts, ffi::Result<Input> result) {
  return call(pool, Factor::kMoments, shape, places, *result, weights, groups, all_of(parts));
}

ffi::Error weights(ffi::ThreadPool pool, ffi::Span<const int32_t> shape, ffi::Span<const int32_t> places,
                   Input moments, ffi::Buffer<ffi::S32> groups, ffi::RemainingArgs parts, ffi::Result<Input> result) {
  return call(pool, Factor::kWeights, shape, places, moments, *result, groups, all_of(parts));
}

// Weights of one rank, of sets, groups, features and channels in this order, are copied to or from those of all
// ranks, of groups, features, channels and sets.
struct Copy {
  int64_t n_sets, n_rows, n_channels, first, n_all;  // rows are groups and features

  template <class T>
  void run(T* of_rank, T* of_all, bool join) const {
    const auto all = [&](auto sets) {
      for (int64_t r = 0; r < n_rows; ++r)
        for (int64_t k = 0; k < n_channels; ++k)
          for (int64_t s = 0; s < sets; ++s) {
            T &one = of_rank[(s * n_rows + r) * n_channels + k], &other = of_all[(r * n_all + first + k) * sets + s];
            join ? other = one : one = other;
          }
    };
    if (n_sets == 4) all(std::integral_constant<int64_t, 4>{});
    else all(n_sets);
  }
};

// Copy a batch of weights of ranks to those of all, or back.
ffi::Error copy_weights(const std::vector<Input>& of_ranks, const Input& of_all, bool join) {
  const auto invalid = [] { return ffi::Error::InvalidArgument("weights of channels have a wrong shape or type"); };
  const Shape all = of_all.dimensions();
  const ffi::DataType type = of_all.element_type();
  if (all.size() < 4 || (type != ffi::DataType::F32 && type != ffi::DataType::F64)) return invalid();
  const size_t n_outer = all.size() - 4;
  const int64_t *own = all.begin() + n_outer, n_rows = own[0] * own[1];
  int64_t n_batch = 1, first = 0;
  for (size_t i = 0; i < n_outer; ++i) n_batch *= all[i];
  for (const Input& of_rank : of_ranks) {
    const Shape shape = of_rank.dimensions();
    if (shape.size() != all.size() || of_rank.element_type() != type ||
        !std::equal(all.begin(), all.begin() + n_outer, shape.begin()))
      return invalid();
    const int64_t* sizes = shape.begin() + n_outer;
    const Copy copy{own[3], n_rows, sizes[3], first, own[2]};
    first += sizes[3];
    if (sizes[0] != own[3] || sizes[1] != own[0] || sizes[2] != own[1] || first > own[2]) return invalid();
    const auto each = [&](auto* one, auto* other) {
      for (int64_t b = 0; b < n_batch; ++b)
        copy.run(one + b * n_rows * copy.n_channels * copy.n_sets, other + b * n_rows * copy.n_all * copy.n_sets, join);
    };
    if (type == ffi::DataType::F32)
      each(static_cast<float*>(of_rank.untyped_data()), static_cast<float*>(of_all.untyped_data()));
    else
      each(static_cast<double*>(of_rank.untyped_data()), static_cast<double*>(of_all.untyped_data()));
  }
  return first == own[2] ? ffi::Error::Success() : invalid();
}

ffi::Error join(ffi::RemainingArgs of_ranks, ffi::Result<Input> of_all) {
  return copy_weights(all_of(of_ranks), *of_all, true);
}

ffi::Error divide(Input of_all, ffi::RemainingRets of_ranks) { return copy_weights(all_of(of_ranks), of_all, false); }

auto bind() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<ffi::Span<const int32_t>>("shape")
      .Attr<ffi::Span<const int32_t>>("places")
      .Arg<Input>();
}

}  // namespace
}  // namespace qiff

QIFF_EXPORT XLA_FFI_Error* qiff_moments(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_weights(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_channels(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_join(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_divide(XLA_FFI_CallFrame*);

using Groups = ffi::Buffer<ffi::S32>;
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_moments, qiff::moments,
                              qiff::bind().Arg<Groups>().RemainingArgs().Ret<qiff::Input>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_weights, qiff::weights,
                              qiff::bind().Arg<Groups>().RemainingArgs().Ret<qiff::Input>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_channels, qiff::channels,
                              qiff::bind().Arg<qiff::Input>().Arg<Groups>().RemainingRets());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_join, qiff::join, ffi::Ffi::Bind().RemainingArgs().Ret<qiff::Input>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_divide, qiff::divide, ffi::Ffi::Bind().Arg<qiff::Input>().RemainingRets());
