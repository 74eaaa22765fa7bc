// A communicator and hints of MPI-IO, for parallel HDF5.
#include <mpi.h>

#include "brigade/core/team.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"

namespace brigade::communication {
namespace {

class Handles final : public MpiHandles {
 public:
  Handles(MPI_Comm of, const std::map<std::string, std::string>& hints) {
    check_mpi(MPI_Info_create(&info_), "MPI_Info_create");
    for (const auto& [key, value] : hints) check_mpi(MPI_Info_set(info_, key.c_str(), value.c_str()), "MPI_Info_set");
    communicator = MPI_Comm_c2f(of);
    info = MPI_Info_c2f(info_);
  }
  ~Handles() override {
    if (mpi_is_live()) MPI_Info_free(&info_);
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

 private:
  MPI_Info info_ = MPI_INFO_NULL;
};

}  // namespace

std::unique_ptr<MpiHandles> Communicator::mpi(const std::map<std::string, std::string>& hints) {
  if (!mpi_is_live()) return nullptr;
  return std::make_unique<Handles>(impl_ ? impl_->comm : MPI_COMM_SELF, hints);
}

}  // namespace brigade::communication
