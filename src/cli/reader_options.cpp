#include "reader_options.hpp"

#include <algorithm>

namespace brigade::cli {

using dataset::ReaderMode;
using dataset::Shuffle;
using dataset::Tail;
using dataset::Verify;

namespace {

std::map<std::string, std::string> parse_hints(const std::string& text) {
  std::map<std::string, std::string> hints;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string hint = text.substr(begin, end - begin);
    const std::size_t equals = hint.find('=');
    require<OptionError>(equals != hint.npos && equals > 0 && equals + 1 < hint.size(),
                         "--mpi-io-hints '{}' is not KEY=VALUE,...", text);
    hints[hint.substr(0, equals)] = hint.substr(equals + 1);
    begin = end + 1;
  }
  return hints;
}

}  // namespace

std::vector<std::pair<std::string, ReaderMode>> reader_modes() {
  std::vector<std::pair<std::string, ReaderMode>> modes;
  for (const auto mode : {ReaderMode::automatic, ReaderMode::mmap, ReaderMode::independent, ReaderMode::collective,
                          ReaderMode::preload, ReaderMode::stage})
    modes.emplace_back(name_of(mode), mode);
  return modes;
}

void declare_reading(Options& options, dataset::ReaderOptions& reader) {
  options
      .choice("verify", reader.verify, {{"always", Verify::always}, {"first", Verify::first}, {"never", Verify::never}},
              "compare checksums at every, the first or no read of an image")
      .optional("stage-dir", reader.stage_directory,
                "DIR: storage of the node for --reader stage; by default $TMPDIR, else /tmp. Copies stay there for "
                "later runs")
      .text(
          "mpi-io-hints", [&](const std::string& text) { reader.mpi_hints = parse_hints(text); },
          "KEY=VALUE,...: for --reader collective, e.g. romio_cb_read=enable,cb_nodes=4,cb_buffer_size=16777216,"
          "striping_unit=1048576 (collective buffering, aggregators, their buffer and the stripes it is aligned with, "
          "in bytes)");
}

void declare_reader(Options& options, dataset::ReaderOptions& reader) {
  options.choice(
      "reader", reader.mode, reader_modes(),
      "how shards are read: memory map, pread by each rank (of compressed chunks H5Dread), H5Dread by all ranks "
      "together over MPI-IO, copied to memory that the ranks of a node share, or copied to storage of the node; auto "
      "chooses and says why");
  declare_reading(options, reader);
}

void declare_order(Options& options, dataset::OrderOptions& order) {
  options
      .choice("shuffle", order.shuffle, {{"full", Shuffle::full}, {"block", Shuffle::block}, {"none", Shuffle::none}},
              "order of samples, anew each epoch: any, blocks of neighbours (16 at a time are mixed; for storage that "
              "seeks slowly), or as stored")
      .add("shuffle-block", order.block, {1}, "samples of a block")
      .choice(
          "tail", order.tail, {{"drop", Tail::drop}, {"fill", Tail::fill}},
          "images of an epoch beyond its last whole batch: left out of it (others each time), or in a last batch that "
          "is filled with the epoch's first images once more");
}

}  // namespace brigade::cli
