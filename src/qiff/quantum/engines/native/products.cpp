// The matrix product of one instruction set: tiles of the result in registers.

#include "products.hpp"

#include "lanes.hpp"

namespace QIFF_ISA {

constexpr int kTileRows = 6, kTileVectors = QIFF_BYTES == 64 ? 4 : 2;  // what the registers hold

template <class T, int kRows, int kVectors>
void tile(const T* const* rows, int64_t stride, const T* columns, int64_t width, int64_t n, int64_t n_columns,
          int64_t first, T* const* out) {
  using V = Vector<T>;
  V total[kRows][kVectors] = {};
  for (int64_t i = 0; i < n; ++i) {
    V column[kVectors];
    for (int v = 0; v < kVectors; ++v)
      __builtin_memcpy(&column[v], columns + i * width + first + v * kLanes<T>, sizeof(V));
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) total[r][v] += rows[r][i * stride] * column[v];
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) {
      const int64_t begin = first + v * kLanes<T>, left = n_columns - begin;
      const V value = total[r][v];
      if (left >= kLanes<T>)
        __builtin_memcpy(out[r] + begin, &value, sizeof value);
      else
        __builtin_memcpy(out[r] + begin, &value, left * sizeof(T));
    }
}

// The columns of the result in tiles, for few rows.
template <class T, int kRows>
void few_rows(const T* const* rows, int64_t stride, const T* columns, int64_t width, int64_t n, int64_t n_columns,
              T* const* out) {
  const int64_t n_vectors = (n_columns + kLanes<T> - 1) / kLanes<T>;
  for (int64_t v = 0; v < n_vectors; v += kTileVectors) {
    const auto run = [&](auto function) {
      function(rows, stride, columns, width, n, n_columns, v * kLanes<T>, out);
    };
    switch (n_vectors - v) {
      case 1: run(tile<T, kRows, 1>); break;
      case 2: run(tile<T, kRows, 2>); break;
      case 3: run(tile<T, kRows, kTileVectors < 3 ? kTileVectors : 3>); break;
      default: run(tile<T, kRows, kTileVectors>);
    }
  }
}

template <class T>
void multiply(const T* const* rows, int64_t n_rows, int64_t stride, const T* columns, int64_t width, int64_t n,
              int64_t n_columns, T* const* out) {
  constexpr decltype(&few_rows<T, 1>) few[] = {few_rows<T, 1>, few_rows<T, 2>, few_rows<T, 3>,
                                               few_rows<T, 4>, few_rows<T, 5>, few_rows<T, kTileRows>};
  for (int64_t r = 0; r < n_rows; r += kTileRows) {
    const int64_t count = n_rows - r < kTileRows ? n_rows - r : kTileRows;
    few[count - 1](rows + r, stride, columns, width, n, n_columns, out + r);
  }
}

extern const qiff::Products<float> kFloatProducts;
extern const qiff::Products<double> kDoubleProducts;
const qiff::Products<float> kFloatProducts{kLanes<float>, multiply<float>};
const qiff::Products<double> kDoubleProducts{kLanes<double>, multiply<double>};

}  // namespace QIFF_ISA
