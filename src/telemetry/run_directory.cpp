#include "brigade/telemetry/run_directory.hpp"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string_view>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/error.hpp"

namespace brigade::telemetry {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kEpochColumns =
    "epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,val_top5_accuracy,learning_rate,train_s,val_s,"
    "train_images,val_images\n";

std::string utc(double unix_s) {
  const auto seconds = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

Json number_or_null(std::optional<double> value) { return value ? Json(*value) : Json(nullptr); }

Json build_info() {
  return {
    {"version", BRIGADE_VERSION},
#if defined(__clang__)
        {"compiler", "clang " __clang_version__},
#elif defined(__GNUC__)
        {"compiler", "gcc " __VERSION__},
#else
        {"compiler", "unknown"},
#endif
        {"cplusplus", __cplusplus}, {"build_type", BRIGADE_BUILD_TYPE}, {"cpu", BRIGADE_CPU}, {
      "sanitizers", BRIGADE_SANITIZE
    }
  };
}

// What changes speed or results. Chosen by name, for an environment also holds secrets.
bool matters(std::string_view name) {
  for (const std::string_view prefix : {"OMP_", "GOMP_", "KOKKOS_", "OMPI_MCA_btl", "OMPI_MCA_pml", "OMPI_MCA_mtl",
                                        "OMPI_MCA_coll", "UCX_", "FI_PROVIDER", "HDF5_", "BRIGADE_", "MALLOC_"})
    if (name.starts_with(prefix)) return true;
  for (const std::string_view exact :
       {"SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES",
        "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_CPUS_PER_TASK", "SLURM_CPU_BIND", "SLURM_MPI_TYPE",
        "SLURM_RESTART_COUNT", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "LD_PRELOAD",
        "CUDA_VISIBLE_DEVICES"})
    if (name == exact) return true;
  return false;
}

Json environment() {
  std::map<std::string, std::string> sorted;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals != text.npos && matters(text.substr(0, equals)))
      sorted.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return sorted;
}

void write_json(const fs::path& path, const Json& json) {
  // Names of files may hold any bytes: what is not UTF-8 is replaced.
  write_file(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
}

// A list of one member of each place.
Json each(const std::vector<Place>& places, std::string Place::*member) {
  Json list = Json::array();
  for (const Place& place : places) list.push_back(place.*member);
  return list;
}

Json described(const std::vector<SumInfo>& sums) {
  Json list = Json::array();
  for (const SumInfo& sum : sums)
    list.push_back(
        {{"bytes", sum.bytes}, {"node_memory", sum.node_memory}, {"between", sum.between}, {"wire", sum.wire}});
  return list;
}

Json described(const std::optional<AllreduceTableInfo>& table) {
  if (!table) return nullptr;
  Json others = Json::array();
  for (const auto& [nodes, bytes] : table->others)
    others.push_back({{"nodes", nodes}, {"halving_doubling_up_to_bytes", bytes}});
  return {{"nodes", table->nodes},
          {"halving_doubling_up_to_bytes", table->halving_doubling_up_to_bytes},
          {"source", table->source},
          {"others", others}};
}

Json described(const std::vector<LinkInfo>& links) {
  Json list = Json::array();
  for (const LinkInfo& link : links)
    list.push_back(
        {{"from", link.from}, {"to", link.to}, {"latency_s", link.latency_s}, {"bytes_per_s", link.bytes_per_s}});
  return list;
}

// Of each place; null where nothing limits it.
Json limits(const std::vector<Place>& places) {
  Json list = Json::array();
  for (const Place& place : places)
    list.push_back(place.processor_limit < kUnlimited ? Json(place.processor_limit) : Json(nullptr));
  return list;
}

Json staleness(const std::vector<std::int64_t>& gradients) {
  if (gradients.empty()) return nullptr;
  double count = 0, sum = 0;
  for (std::size_t s = 0; s < gradients.size(); ++s) {
    count += static_cast<double>(gradients[s]);
    sum += static_cast<double>(s) * static_cast<double>(gradients[s]);
  }
  return {
      {"mean", count > 0 ? Json(sum / count) : Json(nullptr)}, {"max", gradients.size() - 1}, {"gradients", gradients}};
}

Json described(const std::optional<std::pair<std::int64_t, std::int64_t>>& reads) {
  return reads ? Json{{"calls", reads->first}, {"collective", reads->second}} : Json(nullptr);
}

std::string field(std::optional<double> value) { return value ? fmt::format("{:.9g}", *value) : ""; }

}  // namespace

void write_run_info(const fs::path& directory, const RunInfo& info) {
  fs::create_directories(directory);
  write_json(directory / "run.json", {{"schema_version", 1},
                                      {"command_line", info.command_line},
                                      {"started", utc(info.process_start_s)},
                                      {"process_start_s", info.process_start_s},
                                      {"network", info.network},
                                      {"dataset", info.dataset},
                                      {"backend", info.backend},
                                      {"reader", info.reader},
                                      {"reader_why", info.reader_why},
                                      {"ranks", info.ranks},
                                      {"threads_per_rank", info.threads_per_rank},
                                      {"pinned_processors", info.pinned_processors},
                                      {"roles", each(info.places, &Place::role)},
                                      {"hosts", each(info.places, &Place::host)},
                                      {"machines", each(info.places, &Place::machine)},
                                      {"processors", each(info.places, &Place::processors)},
                                      {"processor_limits", limits(info.places)},
                                      {"links", described(info.links)},
                                      {"parameters", info.parameters},
                                      {"global_batch", info.global_batch},
                                      {"micro_batches", info.micro_batches},
                                      {"steps_per_epoch", info.steps_per_epoch},
                                      {"sums", described(info.sums)},
                                      {"allreduce_table", described(info.allreduce_table)},
                                      {"options", info.options},
                                      {"build", build_info()},
                                      {"environment", environment()}});
}

void append_epoch(const fs::path& directory, const EpochRow& row) {
  fs::create_directories(directory);
  const fs::path path = directory / "epochs.csv";
  std::string text(kEpochColumns);
  if (fs::exists(path)) {
    const std::string old = read_file(path);
    require(old.starts_with(kEpochColumns),
            "{} has other columns (another version wrote it). Use another run directory?", path.string());
    std::string_view rest = std::string_view(old).substr(kEpochColumns.size());
    for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      std::int64_t epoch = 0;
      const auto parsed = std::from_chars(rest.data(), rest.data() + end, epoch);
      require(parsed.ec == std::errc() && *parsed.ptr == ',', "{} is damaged (a row begins '{}'). Remove it?",
              path.string(), rest.substr(0, std::min<std::size_t>(end, 20)));
      if (epoch < row.epoch) text += rest.substr(0, end + 1);
    }
  }
  text += fmt::format("{},{},{:.9g},{:.9g},{},{},{},{:.9g},{:.6f},{:.6f},{},{}\n", row.epoch, row.step, row.train_loss,
                      row.train_accuracy, field(row.val_loss), field(row.val_accuracy), field(row.val_top5_accuracy),
                      row.learning_rate, row.train_s, row.val_s, row.train_images, row.val_images);
  write_file(path, text);
}

void write_summary(const fs::path& directory, const Summary& summary) {
  fs::create_directories(directory);
  write_json(directory / "summary.json", {{"schema_version", 1},
                                          {"exit_reason", summary.exit_reason},
                                          {"epochs", summary.epochs},
                                          {"steps", summary.steps},
                                          {"train_loss", summary.train_loss},
                                          {"train_accuracy", summary.train_accuracy},
                                          {"val_loss", number_or_null(summary.val_loss)},
                                          {"val_accuracy", number_or_null(summary.val_accuracy)},
                                          {"val_top5_accuracy", number_or_null(summary.val_top5_accuracy)},
                                          {"startup_s", summary.startup_s},
                                          {"train_s", summary.train_s},
                                          {"val_s", summary.val_s},
                                          {"total_s", summary.total_s},
                                          {"images_per_second", summary.images_per_second},
                                          {"peak_rss_bytes", summary.peak_rss_bytes},
                                          {"staleness", staleness(summary.gradients_by_staleness)},
                                          {"collective_reads", described(summary.collective_reads)}});
}

void write_failure(const fs::path& directory, const Failure& failure) {
  fs::create_directories(directory);
  write_json(directory / fmt::format("failure-{:05}.json", failure.rank), {{"schema_version", 1},
                                                                           {"time", utc(failure.time_s)},
                                                                           {"time_s", failure.time_s},
                                                                           {"rank", failure.rank},
                                                                           {"host", failure.host},
                                                                           {"phase", failure.phase},
                                                                           {"step", failure.step},
                                                                           {"problem", failure.problem}});
}

Summary read_summary(const fs::path& directory) {
  const fs::path path = directory / "summary.json";
  const Json text = Json::parse(read_file(path), nullptr, false);
  Summary summary;
  const auto read = [&](const char* name, auto& value) {
    using Value = std::decay_t<decltype(value)>;
    require(text.is_object() && text.contains(name), "{} is no summary of a run (it lacks {})", path.string(), name);
    if constexpr (std::is_same_v<Value, std::optional<double>>) {
      if (!text[name].is_null()) value = text[name].template get<double>();
    } else if constexpr (std::is_same_v<Value, double>) {
      value = text[name].is_null() ? NAN : text[name].template get<double>();  // JSON has no NaN: a diverged loss
    } else {
      text[name].get_to(value);
    }
  };
  try {
    read("exit_reason", summary.exit_reason);
    read("epochs", summary.epochs);
    read("steps", summary.steps);
    read("train_loss", summary.train_loss);
    read("train_accuracy", summary.train_accuracy);
    read("val_loss", summary.val_loss);
    read("val_accuracy", summary.val_accuracy);
    read("val_top5_accuracy", summary.val_top5_accuracy);
    read("startup_s", summary.startup_s);
    read("train_s", summary.train_s);
    read("val_s", summary.val_s);
    read("total_s", summary.total_s);
    read("images_per_second", summary.images_per_second);
    read("peak_rss_bytes", summary.peak_rss_bytes);
    const auto stale = text.find("staleness");  // older summaries have none
    if (stale != text.end() && stale->is_object()) stale->at("gradients").get_to(summary.gradients_by_staleness);
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{} is damaged ({})", path.string(), error.what()));
  }
  return summary;
}

}  // namespace brigade::telemetry
