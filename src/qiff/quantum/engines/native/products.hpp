// What the handlers of matrix products and their kernels of every instruction set agree on.
#pragma once

#include <cstdint>

namespace qiff {

constexpr int64_t kWorthAThread = 1 << 20;  // multiplications with additions

template <class T>
struct Products {
  int n_lanes;
  // A number of columns as they are read: up to whole vectors.
  int64_t padded(int64_t n_columns) const { return (n_columns + n_lanes - 1) / n_lanes * n_lanes; }
  // out[r][c] = sum_i rows[r][i * stride] columns[i * width + c] for i < n and c < n_columns, which is read up to
  // a multiple of n_lanes.
  void (*multiply)(const T* const* rows, int64_t n_rows, int64_t stride, const T* columns, int64_t width, int64_t n,
                   int64_t n_columns, T* const* out);
  // out[c * out_width + r] = in[r * width + c] for r < n_rows and c < n_columns; rows of `out` are written up to a
  // multiple of n_lanes, with zeros.
  void (*transpose)(const T* in, int64_t width, int64_t n_rows, int64_t n_columns, T* out, int64_t out_width);
};

}  // namespace qiff
