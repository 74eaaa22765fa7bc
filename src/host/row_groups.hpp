// Loops down the rows of a tensor whose groups share what is loaded for a column, and sum in registers.
#pragma once

#include <cstdint>
#include <type_traits>

namespace brigade::host {

// Calls do_rows(first, count) for groups of kRows rows, where count is a constant, and for what is left of `rows`.
template <std::int64_t kRows, class DoRows>
void over_row_groups(std::int64_t rows, const DoRows& do_rows) {
  std::int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) do_rows(r, std::integral_constant<std::int64_t, kRows>{});
  if (r < rows) do_rows(r, rows - r);
}

// The same with do_rows(first, count, adding), compiled for both.
template <std::int64_t kRows, class DoRows>
void over_row_groups(std::int64_t rows, bool add, const DoRows& do_rows) {
  const auto all_rows = [&](auto adding) {
    over_row_groups<kRows>(rows, [&](std::int64_t first, auto count) { do_rows(first, count, adding); });
  };
  if (add)
    all_rows(std::true_type());
  else
    all_rows(std::false_type());
}

}  // namespace brigade::host
