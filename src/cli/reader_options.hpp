// --reader, --verify and what belongs to them, shared by the commands that read a dataset.
#pragma once

#include "brigade/dataset/reader.hpp"
#include "brigade/dataset/sampling.hpp"
#include "options.hpp"

namespace brigade::cli {

void declare_reader(Options& options, dataset::ReaderOptions& reader);
// All of them but --reader itself: --verify, --stage-dir, --mpi-io-hints
void declare_reading(Options& options, dataset::ReaderOptions& reader);
// All modes by their names.
std::vector<std::pair<std::string, dataset::ReaderMode>> reader_modes();
// --shuffle, --shuffle-block, --tail
void declare_order(Options& options, dataset::OrderOptions& order);

}  // namespace brigade::cli
