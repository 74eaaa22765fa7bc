// brigade bench allreduce: the sums of the training step, alone.
#include "allreduce.hpp"
#include "allreduce_table.hpp"
#include "backend_options.hpp"
#include "brigade/core/atomic_file.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "start_check.hpp"

namespace brigade::cli {

ExitCode bench_allreduce(Call& call) {
  benchmarks::AllreduceBenchmark wanted;
  std::string least = "4K", most = "256M", segment = fmt::format("{}K", wanted.segment_bytes >> 10);
  std::filesystem::path json, table_file;
  benchmarks::AllreduceTable table;
  BackendOptions backend;
  Options options("bench allreduce", "sums of floats over all ranks by each algorithm, beside MPI_Allreduce");
  options.add("min-bytes", least, "smallest array (K, M, G); each next is four times as large")
      .add("max-bytes", most, "largest array (K, M, G)")
      .add("segment", segment, "bytes of a message, and of what passes through shared memory at once (K, M, G)")
      .add("repetitions", wanted.repetitions, {0}, "of each algorithm and size; 0: 5 to 200 by size")
      .optional("json", json, "FILE: all numbers, for programs")
      .optional("table", table_file,
                "FILE: which sizes between so many nodes go by halving-doubling and which by ring, as measured, for "
                "`brigade train --allreduce-table`; other numbers of nodes that are in it stay");
  backend.declare(options);
  if (!read_options(call, options)) return ExitCode::done;
  collectively(call.communicator, "checking the options", [&] {
    wanted.least_bytes = parse_bytes(least, "min-bytes");
    wanted.most_bytes = parse_bytes(most, "max-bytes");
    wanted.segment_bytes = parse_bytes(segment, "segment");
    require<OptionError>(call.communicator.size() > 1, "one rank has nothing to sum. Start several with mpirun -n 2?");
    require<OptionError>(wanted.least_bytes >= 4 && wanted.least_bytes <= wanted.most_bytes,
                         "--min-bytes {} must be at least 4 and no more than --max-bytes {}", least, most);
    require<OptionError>(wanted.segment_bytes >= 4, "--segment {} is shorter than a float", segment);
    if (table_file.empty()) return;
    require<OptionError>(
        communication::exchanging_nodes(call.communicator) > 1,
        "--table is about messages between nodes, but all {} ranks share the memory of one. Start them "
        "on several?",
        call.communicator.size());
    if (call.speaks() && std::filesystem::exists(table_file)) table = benchmarks::read_allreduce_table(table_file);
  });
  const LiveBackend threads(backend, call.communicator);  // of which the sums have those that they have in training
  const auto report = benchmarks::measure_allreduce(call.communicator, wanted);
  if (!call.speaks()) return ExitCode::done;
  benchmarks::print(report);
  if (!json.empty()) write_file(json, benchmarks::to_json(report));
  if (!table_file.empty()) {
    table[report.nodes] = benchmarks::measured_short_bytes(report);
    write_file(table_file, benchmarks::to_json(table));
    fmt::print(
        "\nbetween {} nodes halving-doubling is quicker than the ring up to {} KiB, up to {} KiB than one of 16 bits: "
        "written to {}\n",
        report.nodes, table[report.nodes].fp32 >> 10, table[report.nodes].narrow >> 10, table_file.string());
  }
  return ExitCode::done;
}

}  // namespace brigade::cli
