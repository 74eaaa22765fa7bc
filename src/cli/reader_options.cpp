#include "reader_options.hpp"

namespace brigade::cli {

using dataset::ReaderMode;
using dataset::Verify;

std::vector<std::pair<std::string, ReaderMode>> reader_modes() {
  std::vector<std::pair<std::string, ReaderMode>> modes;
  for (const auto mode : {ReaderMode::automatic, ReaderMode::mmap, ReaderMode::independent, ReaderMode::collective,
                          ReaderMode::preload, ReaderMode::stage})
    modes.emplace_back(name_of(mode), mode);
  return modes;
}

void declare_verify(Options& options, Verify& verify) {
  options.choice("verify", verify, {{"always", Verify::always}, {"first", Verify::first}, {"never", Verify::never}},
                 "compare checksums at every, the first or no read of an image");
}

void declare_reader(Options& options, dataset::ReaderOptions& reader) {
  options.choice(
      "reader", reader.mode, reader_modes(),
      "how shards are read: memory map, H5Dread by each rank, H5Dread by all ranks together over MPI-IO, copied "
      "to memory that the ranks of a node share, or copied to storage of the node; auto chooses and says why");
  declare_verify(options, reader.verify);
}

}  // namespace brigade::cli
