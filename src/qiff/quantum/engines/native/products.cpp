// The matrix product of one instruction set: tiles of the result in registers. Transposed matrices.

#include "products.hpp"

#include "lanes.hpp"

namespace QIFF_ISA {

constexpr int kTileRows = 6, kTileVectors = QIFF_BYTES == 64 ? 4 : 2;  // what the registers hold

// The first n lanes, by moves of half a vector, of a quarter, and so on.
template <class T>
QIFF_INLINE void store_first(const Vector<T>& value, int64_t n, T* out) {
  int64_t done = 0;
#pragma GCC unroll 4
  for (int64_t part = kLanes<T> / 2; part; part /= 2)
    if (n & part) {
      __builtin_memcpy(out + done, reinterpret_cast<const char*>(&value) + done * sizeof(T), part * sizeof(T));
      done += part;
    }
}

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
        store_first<T>(value, left, out[r] + begin);
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

template <class T>
QIFF_INLINE void transpose_square(const T* in, int64_t width, T* out, int64_t out_width) {
  Vector<T> square[kLanes<T>];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i) __builtin_memcpy(&square[i], in + i * width, sizeof square[i]);
  transpose<T>(square);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i) __builtin_memcpy(out + i * out_width, &square[i], sizeof square[i]);
}

template <class T>
void transpose_matrix(const T* in, int64_t width, int64_t n_rows, int64_t n_columns, T* out, int64_t out_width) {
  constexpr int n = kLanes<T>;
  for (int64_t c = 0; c < n_columns; c += n)
    for (int64_t r = 0; r < n_rows; r += n) {
      if (n_rows - r >= n && n_columns - c >= n) {
        transpose_square<T>(in + r * width + c, width, out + c * out_width + r, out_width);
        continue;
      }
      for (int64_t i = c; i < n_columns && i < c + n; ++i)
        for (int64_t j = r; j < r + n; ++j) out[i * out_width + j] = j < n_rows ? in[j * width + i] : 0;
    }
}

extern const qiff::Products<float> kFloatProducts;
extern const qiff::Products<double> kDoubleProducts;
const qiff::Products<float> kFloatProducts{kLanes<float>, multiply<float>, transpose_matrix<float>};
const qiff::Products<double> kDoubleProducts{kLanes<double>, multiply<double>, transpose_matrix<double>};

}  // namespace QIFF_ISA
