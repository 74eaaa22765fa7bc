// Turns a failed MPI call into an exception that carries MPI's own text: a PeerError, or a std::runtime_error where it
// is this rank's own fault (arguments, memory).
#pragma once

#include <mpi.h>

namespace brigade::communication {

[[noreturn]] void throw_mpi_error(int code, const char* call);

/// check_mpi(MPI_Foo(...), "MPI_Foo"). Fires only where MPI_ERRORS_RETURN is set, see Environment.
inline void check_mpi(int code, const char* call) {
  if (code != MPI_SUCCESS) [[unlikely]]
    throw_mpi_error(code, call);
}

/// Between MPI_Init and MPI_Finalize?
bool mpi_is_live();

}  // namespace brigade::communication
