// Starting and ending MPI.
//
// Start. Most of Open MPI's start-up time goes into asking for networks that are not there: on a
// machine without any fabric MPI_Init spends 0.2 to 0.3 s in libfabric's providers and 0.03 to 0.06 s in
// everything else. So where the kernel knows no fabric, the components that need one (mtl: ofi, psm,
// psm2) are struck off before MPI_Init. Whatever the user or the site has chosen through the environment
// stays, and other MPI implementations do not look at the variable.
//
// End. MPI_Finalize waits for all ranks. After a wait that timed out, or while an error unwinds this
// rank alone, that would be the next hang; then it is left out.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "brigade/communication/communicator.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"

namespace brigade::communication {
namespace {

namespace fs = std::filesystem;

// InfiniBand, RoCE, EFA, iWARP, Omni-Path, Slingshot, BXI, Aries and usNIC show up in one of these.
bool kernel_knows_a_fabric() {
  std::error_code ignored;
  for (const char* path : {"/sys/class/infiniband", "/sys/class/infiniband_verbs", "/sys/class/cxi", "/sys/class/bxi"})
    if (fs::exists(path, ignored) && !fs::is_empty(path, ignored)) return true;
  for (const char* path : {"/dev/infiniband", "/dev/hfi1", "/dev/hfi1_0", "/dev/ipath", "/dev/ipath0", "/dev/cxi0",
                           "/dev/kgni0", "/dev/bxi0", "/dev/portals4", "/dev/usnic_0"})
    if (fs::exists(path, ignored)) return true;
  return false;
}

void skip_absent_fabrics() {
  for (const char* chosen : {"OMPI_MCA_mtl", "OMPI_MCA_pml", "FI_PROVIDER", "BRIGADE_KEEP_MPI_DEFAULTS"})
    if (std::getenv(chosen) != nullptr) return;
  if (!kernel_knows_a_fabric()) setenv("OMPI_MCA_mtl", "^ofi,psm,psm2", 0);
}

// Whether a call failed for what this rank has asked for, or has no memory for.
bool is_own_fault(int code) {
  int kind = MPI_ERR_UNKNOWN;
  if (MPI_Error_class(code, &kind) != MPI_SUCCESS) return false;
  constexpr std::array kOwn{MPI_ERR_BUFFER,   MPI_ERR_COUNT,    MPI_ERR_TYPE,      MPI_ERR_TAG,      MPI_ERR_COMM,
                            MPI_ERR_RANK,     MPI_ERR_REQUEST,  MPI_ERR_ROOT,      MPI_ERR_GROUP,    MPI_ERR_OP,
                            MPI_ERR_TOPOLOGY, MPI_ERR_DIMS,     MPI_ERR_ARG,       MPI_ERR_TRUNCATE, MPI_ERR_NO_MEM,
                            MPI_ERR_INFO,     MPI_ERR_INFO_KEY, MPI_ERR_INFO_VALUE};
  return std::ranges::find(kOwn, kind) != kOwn.end();
}

}  // namespace

void throw_mpi_error(int code, const char* call) {
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) length = 0;
  const std::string why =
      length > 0 ? std::string(text.data(), static_cast<std::size_t>(length)) : fmt::format("MPI error {}", code);
  if (is_own_fault(code))
    throw std::runtime_error(fmt::format(
        "{} failed ({}), whatever other ranks do. Is this host out of memory, or is it a mistake of this program?",
        call, why));
  throw PeerError(fmt::format("{} failed ({}). Is another rank or its host gone?", call, why));
}

bool mpi_is_live() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

Environment::Environment(int& argc, char**& argv) {
  skip_absent_fabrics();
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED) MPI_Finalize();  // in good order: all ranks end here
  require<OptionError>(provided >= MPI_THREAD_FUNNELED,
                       "this MPI library does not allow threads (level {} of at least {}). "
                       "Build Brigade with an MPI that supports MPI_THREAD_FUNNELED?",
                       provided, static_cast<int>(MPI_THREAD_FUNNELED));
}

Environment::~Environment() {
  if (mpi_is_live() && Communicator::Impl::left_behind == 0 && std::uncaught_exceptions() == 0) MPI_Finalize();
}

}  // namespace brigade::communication
