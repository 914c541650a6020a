// The handler that makes the matrices in vectors orthogonal: Newton-Schulz iterations of
// `qiff.training.optimisers`, each matrix on its own.

#include <algorithm>
#include <cmath>
#include <vector>

#include "dispatch.hpp"
#include "products.hpp"

QIFF_TABLE(products, Products, kFloatProducts, kDoubleProducts)

namespace qiff {
namespace {

constexpr double kTiny = 1e-30;  // added to squares of norms

struct Matrix {
  int64_t first, n_rows, n_columns;  // where it is in a vector

  int64_t longer() const { return std::max(n_rows, n_columns); }
  int64_t shorter() const { return std::min(n_rows, n_columns); }
};

// Numbers that the work on a matrix needs: itself, read up to whole vectors, with one side or the other down, and
// five square matrices.
template <class T>
int64_t workspace(const Matrix& matrix) {
  const Products<T>& own = products<T>();
  return (matrix.longer() + 5 * matrix.shorter()) * own.padded(matrix.shorter()) + own.n_lanes;
}

// X -> aX + bAX + cAAX with A = XX^T, five times, of X divided by its norm: all are polynomials of the first A.
template <class T>
void make_orthogonal(const T* in, const Matrix& matrix, const T* polynomial, T* out, T* space) {
  const int64_t n_lanes = products<T>().n_lanes, longer = matrix.longer(), n = matrix.shorter();
  const int64_t width = products<T>().padded(n), size = n * width;
  const bool wide = matrix.n_rows < matrix.n_columns;
  T *gram = space, *factor = gram + size, *total = factor + size, *product = total + size, *spare = product + size;
  T* copied = spare + size;
  std::fill_n(gram, 5 * size, T(0));
  std::vector<const T*> rows(longer);
  std::vector<T*> to(longer);
  const auto multiply = [&](const T* one, int64_t n_rows, int64_t one_width, const T* other, int64_t other_width,
                            int64_t n_columns, T* result, int64_t result_width) {
    for (int64_t r = 0; r < n_rows; ++r) rows[r] = one + r * one_width, to[r] = result + r * result_width;
    products<T>().multiply(rows.data(), n_rows, 1, other, other_width, n, n_columns, to.data());
  };
  const auto multiply_square = [&](const T* one, const T* other, T* result) {
    multiply(one, n, width, other, width, n, result, width);
  };

  const int64_t copied_width = wide ? width : n;
  if (wide) products<T>().transpose(in, longer, n, longer, copied, width);
  else std::fill_n(std::copy_n(in, longer * n, copied), n_lanes, T(0));
  for (int64_t r = 0; r < n; ++r) rows[r] = copied + r, to[r] = gram + r * width;
  products<T>().multiply(rows.data(), n, copied_width, copied, copied_width, longer, n, to.data());
  T square = T(kTiny);  // of the norm
  for (int64_t r = 0; r < n; ++r) square += gram[r * width + r];
  for (int64_t i = 0; i < size; ++i) gram[i] /= square;

  const auto next_factor = [&] {
    multiply_square(gram, gram, product);
    for (int64_t i = 0; i < size; ++i) factor[i] = polynomial[1] * gram[i] + polynomial[2] * product[i];
    for (int64_t r = 0; r < n; ++r) factor[r * width + r] += polynomial[0];
  };
  next_factor();
  std::copy_n(factor, size, total);
  for (int iteration = 1; iteration < 5; ++iteration) {
    multiply_square(factor, gram, product);
    multiply_square(product, factor, gram);
    next_factor();
    multiply_square(factor, total, spare);
    std::swap(total, spare);
  }
  const T scale = std::sqrt(std::max(T(1), T(matrix.n_columns) / T(matrix.n_rows)) / square);
  for (int64_t i = 0; i < size; ++i) total[i] *= scale;
  if (!wide) return multiply(copied, longer, n, total, width, n, out, n);
  std::fill_n(std::copy_n(in, n * longer, copied), n_lanes, T(0));
  multiply(total, n, width, copied, longer, longer, out, longer);
}

template <class T>
bool all(ffi::ThreadPool& pool, const std::vector<Matrix>& matrices, ffi::Span<const double> coefficients,
         const T* in, T* out, int64_t size, int64_t n_vectors) {
  const T polynomial[] = {T(coefficients[0]), T(coefficients[1]), T(coefficients[2])};
  int64_t bytes = 0, work = 0, end = 0;
  const auto copy_rest = [&](int64_t next) {  // what is between matrices
    for (int64_t i = 0; i < n_vectors; ++i) std::copy(in + i * size + end, in + i * size + next, out + i * size + end);
  };
  for (const Matrix& matrix : matrices) {
    copy_rest(matrix.first);
    end = matrix.first + matrix.n_rows * matrix.n_columns;
    bytes = std::max(bytes, workspace<T>(matrix) * int64_t(sizeof(T)));
    work += matrix.shorter() * matrix.shorter() * (2 * matrix.longer() + 17 * matrix.shorter());
  }
  copy_rest(size);
  const int64_t n = int64_t(matrices.size()), n_workers = work * n_vectors < kWorthAThread ? 1 : pool.num_threads();
  return for_each(pool, n * n_vectors, n_workers, bytes, [&](int64_t index, void* space) {
    if (!space) return false;
    const Matrix& matrix = matrices[index % n];
    const int64_t first = index / n * size + matrix.first;
    make_orthogonal<T>(in + first, matrix, polynomial, out + first, static_cast<T*>(space));
    return true;
  });
}

// Vectors of equal length; of the matrices of one shape in them, where they begin, their number, rows and columns,
// in the order in which they are there.
ffi::Error orthogonal(ffi::ThreadPool pool, ffi::Span<const int32_t> places, ffi::Span<const double> coefficients,
                      ffi::AnyBuffer in, ffi::Result<ffi::AnyBuffer> out) {
  const auto invalid = [] { return ffi::Error::InvalidArgument("vectors with matrices have a wrong shape or type"); };
  const auto shape = in.dimensions();
  if (!shape.size() || places.size() % 4 || coefficients.size() != 3 || in.element_type() != out->element_type() ||
      in.element_count() != out->element_count())
    return invalid();
  const int64_t size = shape.back(), n_vectors = size ? int64_t(in.element_count()) / size : 0;
  std::vector<Matrix> matrices;
  int64_t end = 0;
  for (size_t i = 0; i < places.size(); i += 4) {
    const int64_t first = places[i], n = places[i + 1], n_rows = places[i + 2], n_columns = places[i + 3];
    if (first < end || n < 1 || n_rows < 1 || n_columns < 1) return invalid();
    if ((end = first + n * n_rows * n_columns) > size) return invalid();
    for (int64_t m = 0; m < n; ++m) matrices.push_back({first + m * n_rows * n_columns, n_rows, n_columns});
  }
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const T* from = reinterpret_cast<const T*>(in.untyped_data());
    T* to = reinterpret_cast<T*>(out->untyped_data());
    if (all<T>(pool, matrices, coefficients, from, to, size, n_vectors)) return ffi::Error::Success();
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the iterations of matrices");
  };
  if (in.element_type() == ffi::DataType::F32) return run(float{});
  if (in.element_type() == ffi::DataType::F64) return run(double{});
  return invalid();
}

}  // namespace
}  // namespace qiff

QIFF_EXPORT XLA_FFI_Error* qiff_orthogonal(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(qiff_orthogonal, qiff::orthogonal,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<ffi::Span<const int32_t>>("places")
                                  .Attr<ffi::Span<const double>>("coefficients")
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
