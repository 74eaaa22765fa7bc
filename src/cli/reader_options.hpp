// --reader and --verify, shared by the commands that read a dataset.
#pragma once

#include "brigade/dataset/reader.hpp"
#include "options.hpp"

namespace brigade::cli {

void declare_reader(Options& options, dataset::ReaderOptions& reader);
void declare_verify(Options& options, dataset::Verify& verify);
// All modes by their names.
std::vector<std::pair<std::string, dataset::ReaderMode>> reader_modes();

}  // namespace brigade::cli
