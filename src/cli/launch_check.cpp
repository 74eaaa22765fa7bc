// The variables that count (sbatch(1), srun(1), "OUTPUT ENVIRONMENT VARIABLES"):
//
//   SLURM_NTASKS             tasks of the job in its batch script, of the step in what srun starts; unset if the user
//                            asked for no number of tasks
//   SLURM_TASKS_PER_NODE     the same by nodes, e.g. "2(x3),1": three nodes with two tasks, one with one
//   SLURM_STEP_NUM_TASKS     tasks that this srun started
//
// Under mpirun, ranks may have the variables of the job (on mpirun's own node) or those of the daemon that srun started
// for mpirun; what the job was granted is then in OMPI_UNIVERSE_SIZE (Open MPI).
#include "launch_check.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

namespace brigade::cli {
namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return {};
  return value;
}

// "2(x3),1" -> 2 2 2 1; empty if the text is not of that form.
std::vector<int> tasks_per_node(std::string_view text) {
  constexpr int kMostNodes = 1 << 20;  // a text from the environment: not trusted with memory
  std::vector<int> nodes;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const auto open = part.find("(x");
    const auto tasks = number(part.substr(0, open));
    std::optional<int> times = 1;
    if (open != part.npos)
      times = part.ends_with(')') ? number(part.substr(open + 2, part.size() - open - 3)) : std::nullopt;
    if (!tasks || !times || *times > kMostNodes - static_cast<int>(nodes.size())) return {};
    nodes.insert(nodes.end(), static_cast<std::size_t>(*times), *tasks);
  }
  return nodes;
}

// "2 on n1, 1 on n2"
std::string by_host(const std::map<std::string, int>& ranks) {
  constexpr std::size_t kNamed = 8;
  std::string text;
  std::size_t named = 0;
  for (const auto& [host, count] : ranks) {
    if (++named > kNamed) break;
    text += fmt::format("{}{} on {}", named == 1 ? "" : ", ", count, host);
  }
  return ranks.size() > kNamed ? fmt::format("{} and {} more", text, ranks.size() - kNamed) : text;
}

int number_or_zero(const char* name) { return number(variable(name)).value_or(0); }

void compare_with_allocation(const std::vector<std::string>& hosts, int granted, int nodes, std::string_view by_nodes) {
  const auto ranks = static_cast<int>(hosts.size());
  std::map<std::string, int> ranks_on;
  for (const auto& host : hosts) ++ranks_on[host];
  require<OptionError>(ranks == granted,
                       "Slurm granted {} task{}, but MPI started {} rank{} ({}). Start with `srun --mpi=pmix`, or with "
                       "`srun --ntasks={}` if so many are meant?",
                       granted, granted == 1 ? "" : "s", ranks, ranks == 1 ? "" : "s", by_host(ranks_on), ranks);
  require<OptionError>(nodes == 0 || static_cast<std::size_t>(nodes) == ranks_on.size(),
                       "Slurm granted {} nodes, but MPI uses {} ({}). Start with `srun --mpi=pmix`, or with "
                       "`mpirun --map-by ppr:N:node`, N tasks a node?",
                       nodes, ranks_on.size(), by_host(ranks_on));
  auto wanted = tasks_per_node(by_nodes);
  std::vector<int> found;
  for (const auto& [host, count] : ranks_on) found.push_back(count);
  std::sort(wanted.begin(), wanted.end());
  std::sort(found.begin(), found.end());
  require<OptionError>(wanted.empty() || wanted == found,
                       "Slurm granted tasks by nodes as {}, but MPI placed its ranks otherwise ({}). Start with `srun "
                       "--mpi=pmix`, or with `mpirun --map-by ppr:N:node`, N tasks a node?",
                       by_nodes, by_host(ranks_on));
}

}  // namespace

Launch::Launch()
    : by_mpirun_(!variable("OMPI_COMM_WORLD_SIZE").empty() || !variable("HYDI_CONTROL_FD").empty()),
      first_task_(true),
      tasks_(by_mpirun_ ? 0 : number_or_zero("SLURM_STEP_NUM_TASKS")) {
  if (tasks_ > 1) first_task_ = variable("SLURM_PROCID") == "0";
  for (const char* number : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"})
    if (!variable(number).empty()) first_task_ = variable(number) == "0";
}

void Launch::check_tasks() const {
  for (const char* meeting_point : {"PMIX_RANK", "PMI_RANK", "PMI_FD"})
    if (!variable(meeting_point).empty()) return;
  require<OptionError>(tasks_ < 2,
                       "srun started {} tasks, but gave them no way to find each other (its --mpi type is {}). Use "
                       "`srun --mpi=pmix` (`srun --mpi=list` shows what there is), or mpirun?",
                       tasks_, variable("SLURM_MPI_TYPE").empty() ? "none" : variable("SLURM_MPI_TYPE"));
}

void Launch::check_tasks(const communication::Communicator& world) const {
  if (tasks_ == 0 || tasks_ == world.size()) return;
  OptionError error(
      fmt::format("srun started {} tasks, but MPI sees {} rank{} (srun's --mpi type does not fit this MPI). Use "
                  "`srun --mpi=pmix` (`srun --mpi=list` shows what there is), or mpirun?",
                  tasks_, world.size(), world.size() == 1 ? "" : "s"));
  error.on_all_ranks = true;
  throw error;
}

void Launch::check_allocation(communication::Communicator& world) const {
  if (variable("SLURM_JOB_ID").empty()) return;  // for all ranks or for none
  communication::collectively(world, "comparing ranks with Slurm's tasks", [&] {
    if (world.rank() != 0) return;
    const int granted = number_or_zero(by_mpirun_ ? "OMPI_UNIVERSE_SIZE" : "SLURM_NTASKS");
    // Of a daemon's step the distribution says nothing of the job's; but how many nodes the job has is known.
    const bool of_daemon = by_mpirun_ && !variable("SLURM_STEP_ID").empty();
    if (granted > 0)
      compare_with_allocation(world.hosts(), granted, of_daemon ? number_or_zero("SLURM_JOB_NUM_NODES") : 0,
                              of_daemon ? "" : variable("SLURM_TASKS_PER_NODE"));
  });
}

}  // namespace brigade::cli
