// What the handlers of densities and their kernels of every instruction set agree on.
#pragma once

#include <cstdint>

namespace qiff {

// The density around the atoms of several frames, see densities.py.
struct Density {
  int64_t n_frames, n_atoms, n_neighbours;  // atoms whose density is computed, of every frame
  int64_t n_all;                            // atoms of a frame, as neighbours
  int64_t n_scalars, n_vectors, n_basis;
  double cutoff;

  static constexpr int kComponents = 10;  // of the multipoles of all ranks
  int64_t n_products() const { return kComponents * (n_scalars + n_vectors); }
  int64_t n_moments() const { return n_products() * n_basis; }      // of an atom
  int64_t n_features() const { return n_scalars + 3 * n_vectors; }  // of a neighbour
};

enum class Order { kValue, kGradient, kSecond };

// What moments depend on: displacements of neighbours, scalar and vector features of atoms.
template <class T>
struct Surroundings {
  const T *apart, *scalars, *vectors;
};

// With G the gradient of <weights, moments> in the surroundings: the moments, or G, or the derivative
// of both along a direction in the surroundings. Of G, the part of every neighbour on its own.
template <class T>
struct DensityArrays {
  const int32_t* neighbours;
  Surroundings<T> at, along;
  const T* weights;
  T *moments, *apart, *features;
};

template <class T>
struct Densities {
  int n_lanes;
  // Atoms first, ..., first + count - 1 of all frames, one in every lane.
  void (*run)(Order, const Density&, const DensityArrays<T>&, int64_t first, int count, T* workspace);
  int64_t (*bytes)(Order, const Density&);  // of the workspace
};

}  // namespace qiff
