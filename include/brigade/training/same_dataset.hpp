/// Ranks that see different datasets under one name (a directory of each node, say) are found before they train,
/// evaluate or measure together.
#pragma once

#include <filesystem>

#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/manifest.hpp"

namespace brigade::training {

/// Collective. Throws DataError, on all ranks alike, unless manifest.json of `directory`, which `manifest` was read
/// from, is the same on all of them; the message shows what differs.
void require_same_dataset(communication::Communicator& ranks, const std::filesystem::path& directory,
                          const dataset::Manifest& manifest);

}  // namespace brigade::training
