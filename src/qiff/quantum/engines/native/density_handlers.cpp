// The handlers of the moments of densities that XLA calls; see densities.py.
//
// Arrays of displacements, neighbours and moments have a row for every atom whose density is computed, those of
// features a row for every atom of the frame; all of them have an axis of frames in front.

#include <algorithm>
#include <vector>

#include "densities.hpp"
#include "dispatch.hpp"

QIFF_TABLE(densities, Densities, kFloatDensities, kDoubleDensities)

namespace qiff {
namespace {

using Input = ffi::AnyBuffer;
using Output = ffi::Result<ffi::AnyBuffer>;
using Neighbours = ffi::Buffer<ffi::S32>;

constexpr int64_t kWorthAThread = 1 << 20;  // multiplications with additions

bool is(const Input& buffer, ffi::DataType type, std::initializer_list<int64_t> shape) {
  const auto found = buffer.dimensions();
  return buffer.element_type() == type && std::equal(found.begin(), found.end(), shape.begin(), shape.end());
}

// What every neighbour has of the gradient in features, added up for every atom.
template <class T>
void add_up(const Density& d, const int32_t* neighbours, const T* features, T* scalars, T* vectors) {
  std::fill_n(scalars, d.n_frames * d.n_all * d.n_scalars, T(0));
  std::fill_n(vectors, d.n_frames * d.n_all * 3 * d.n_vectors, T(0));
  const int64_t n_edges = d.n_atoms * d.n_neighbours;
  for (int64_t e = 0; e < d.n_frames * n_edges; ++e, features += d.n_features()) {
    const int64_t atom = e / n_edges * d.n_all + neighbours[e];
    for (int64_t k = 0; k < d.n_scalars; ++k) scalars[atom * d.n_scalars + k] += features[k];
    for (int64_t k = 0; k < 3 * d.n_vectors; ++k) vectors[atom * 3 * d.n_vectors + k] += features[d.n_scalars + k];
  }
}

template <class T>
void run(ffi::ThreadPool& pool, Order order, const Density& d, const int32_t* neighbours, const Input* inputs,
         Output* outputs) {
  const auto in = [&](int i) { return reinterpret_cast<const T*>(inputs[i].untyped_data()); };
  const auto out = [&](int i) { return reinterpret_cast<T*>(outputs[i]->untyped_data()); };
  DensityArrays<T> arrays{neighbours, {in(0), in(1), in(2)}, {}, nullptr, nullptr, nullptr, nullptr};
  std::vector<T> features;
  if (order != Order::kValue) {
    features.resize(d.n_frames * d.n_atoms * d.n_neighbours * d.n_features());
    arrays.weights = in(3), arrays.apart = out(0), arrays.features = features.data();
    std::fill_n(arrays.apart, outputs[0]->element_count(), T(0));
  }
  if (order == Order::kSecond) arrays.along = {in(4), in(5), in(6)};
  if (order != Order::kGradient) arrays.moments = out(order == Order::kValue ? 0 : 3);
  const Densities<T>& kernels = densities<T>();
  const int64_t n = d.n_frames * d.n_atoms, n_lanes = kernels.n_lanes;
  const int64_t n_workers = n * d.n_neighbours * d.n_moments() < kWorthAThread ? 1 : pool.num_threads();
  for_each(pool, (n + n_lanes - 1) / n_lanes, n_workers, kernels.bytes(order, d), [&](int64_t unit, void* space) {
    const int64_t first = unit * n_lanes;
    kernels.run(order, d, arrays, first, int(std::min(n_lanes, n - first)), static_cast<T*>(space));
    return true;
  });
  if (order != Order::kValue) add_up<T>(d, neighbours, features.data(), out(1), out(2));
}

// Inputs are displacements, scalars, vectors, the weights of moments, and a direction in the first three; outputs
// are the gradient in the first three and the moments: as many as an order has.
ffi::Error call(ffi::ThreadPool& pool, Order order, double cutoff, int32_t n_basis, Neighbours& neighbours,
                const Input* inputs, Output* outputs) {
  const auto invalid = [] { return ffi::Error::InvalidArgument("an array of a density has a wrong shape or type"); };
  const auto table = neighbours.dimensions(), vectors = inputs[2].dimensions();
  if (table.size() != 3 || vectors.size() != 4 || inputs[1].dimensions().size() != 3 || n_basis < 1) return invalid();
  const Density d{table[0], table[1], table[2], vectors[1], inputs[1].dimensions()[2], vectors[3], n_basis, cutoff};
  const ffi::DataType type = inputs[0].element_type();
  const std::initializer_list<int64_t> apart = {d.n_frames, d.n_atoms, d.n_neighbours, 3},
                                       of_scalars = {d.n_frames, d.n_all, d.n_scalars},
                                       of_vectors = {d.n_frames, d.n_all, 3, d.n_vectors},
                                       moments = {d.n_frames, d.n_atoms, Density::kComponents, d.n_moments() / Density::kComponents};
  const std::initializer_list<int64_t> shapes[] = {apart, of_scalars, of_vectors, moments, apart, of_scalars, of_vectors};
  const int n_inputs = order == Order::kValue ? 3 : order == Order::kGradient ? 4 : 7;
  const int n_outputs = order == Order::kValue ? 1 : order == Order::kGradient ? 3 : 4;
  for (int i = 0; i < n_inputs; ++i)
    if (!is(inputs[i], type, shapes[i])) return invalid();
  for (int i = 0; i < n_outputs; ++i)
    if (!is(*outputs[i], type, shapes[order == Order::kValue ? 3 : i])) return invalid();
  const int32_t* listed = neighbours.typed_data();
  if (std::any_of(listed, listed + neighbours.element_count(), [&](int32_t k) { return k < 0 || k >= d.n_all; }))
    return ffi::Error::InvalidArgument("a neighbour of a density is no atom");
  if (type == ffi::DataType::F32) return run<float>(pool, order, d, listed, inputs, outputs), ffi::Error::Success();
  if (type == ffi::DataType::F64) return run<double>(pool, order, d, listed, inputs, outputs), ffi::Error::Success();
  return invalid();
}

ffi::Error value(ffi::ThreadPool pool, double cutoff, int32_t n_basis, Neighbours neighbours, Input apart,
                 Input scalars, Input vectors, Output moments) {
  const Input inputs[] = {apart, scalars, vectors};
  return call(pool, Order::kValue, cutoff, n_basis, neighbours, inputs, &moments);
}

ffi::Error gradient(ffi::ThreadPool pool, double cutoff, int32_t n_basis, Neighbours neighbours, Input apart,
                    Input scalars, Input vectors, Input weights, Output of_apart, Output of_scalars,
                    Output of_vectors) {
  const Input inputs[] = {apart, scalars, vectors, weights};
  Output outputs[] = {of_apart, of_scalars, of_vectors};
  return call(pool, Order::kGradient, cutoff, n_basis, neighbours, inputs, outputs);
}

ffi::Error second(ffi::ThreadPool pool, double cutoff, int32_t n_basis, Neighbours neighbours, Input apart,
                  Input scalars, Input vectors, Input weights, Input along_apart, Input along_scalars,
                  Input along_vectors, Output of_apart, Output of_scalars, Output of_vectors, Output moments) {
  const Input inputs[] = {apart, scalars, vectors, weights, along_apart, along_scalars, along_vectors};
  Output outputs[] = {of_apart, of_scalars, of_vectors, moments};
  return call(pool, Order::kSecond, cutoff, n_basis, neighbours, inputs, outputs);
}

auto bind() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<double>("cutoff")
      .Attr<int32_t>("n_basis")
      .Arg<Neighbours>()
      .Arg<Input>()
      .Arg<Input>()
      .Arg<Input>();
}

}  // namespace
}  // namespace qiff

QIFF_EXPORT XLA_FFI_Error* qiff_density(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_density_gradient(XLA_FFI_CallFrame*);
QIFF_EXPORT XLA_FFI_Error* qiff_density_second(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_density, qiff::value, qiff::bind().Ret<qiff::Input>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    qiff_density_gradient, qiff::gradient,
    qiff::bind().Arg<qiff::Input>().Ret<qiff::Input>().Ret<qiff::Input>().Ret<qiff::Input>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_density_second, qiff::second,
                              qiff::bind()
                                  .Arg<qiff::Input>()
                                  .Arg<qiff::Input>()
                                  .Arg<qiff::Input>()
                                  .Arg<qiff::Input>()
                                  .Ret<qiff::Input>()
                                  .Ret<qiff::Input>()
                                  .Ret<qiff::Input>()
                                  .Ret<qiff::Input>());
