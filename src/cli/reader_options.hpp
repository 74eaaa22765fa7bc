// --reader and --verify, shared by the commands that read a dataset.
#pragma once

#include "brigade/dataset/reader.hpp"
#include "options.hpp"

namespace brigade::cli {

void declare_reader(Options& options, dataset::ReaderOptions& reader);

}  // namespace brigade::cli
