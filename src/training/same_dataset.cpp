#include "brigade/training/same_dataset.hpp"

#include <map>
#include <string>

#include "brigade/communication/require_same.hpp"

namespace brigade::training {

void require_same_dataset(communication::Communicator& ranks, const std::filesystem::path& directory,
                          const dataset::Manifest& manifest) {
  std::map<std::string, std::string> facts;
  communication::collectively(ranks, "looking at the dataset", [&] {
    facts["manifest.json of the dataset"] = communication::content_of(directory / "manifest.json");
    for (const auto& [name, split] : manifest.splits)
      facts[fmt::format("the number of samples of split '{}'", name)] = fmt::format("{}", split.samples());
  });
  communication::require_same(ranks, facts, ExitCode::bad_data, "Is --dataset the same directory on every node?");
}

}  // namespace brigade::training
