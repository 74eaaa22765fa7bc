// What ranks are going to send one another, before they do.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/telemetry/run_directory.hpp"
#include "plan.hpp"

namespace brigade::training {

// Bytes of every sum over ranks that one exchange makes, as far as they are known without the executor: buckets really
// end at borders of layers. None with parameter servers.
std::vector<std::size_t> planned_sums(const Plan& plan, const TrainOptions& options);

// Of one exchange, the sums of one step or (local-sgd) of one average.
struct Traffic {
  std::size_t summed_bytes = 0;                 // of floats
  std::size_t sent_bytes = 0;                   // in messages, by the rank that sends most
  std::vector<communication::SumRoute> routes;  // of each sum
};
Traffic traffic_of(const Plan& plan, const TrainOptions& options, const communication::Communicator& communicator);

// The lines "traffic" and, with sums over ranks, "allreduce" of the plan.
std::string describe_traffic(const Plan& plan, const TrainOptions& options,
                             const communication::Communicator& communicator);

// What there is to say if --wire changes nothing on these ranks; else empty. Not an error: scaling studies take the
// same options from one node to many.
std::string note_on_wire(const Plan& plan, const TrainOptions& options,
                         const communication::Communicator& communicator);

// By which sizes sums between nodes are told apart, for run.json; none where they are not.
std::optional<telemetry::AllreduceTableInfo> allreduce_table_of(const Plan& plan, const TrainOptions& options,
                                                                const communication::Communicator& communicator);

}  // namespace brigade::training
