// SPDX-License-Identifier: Apache-2.0
// Recognises MPI launchers by what they put into the environment; needs no MPI.
#include <cstdlib>
#include <string>

#include "parallel/transport/mpi_session.h"

namespace halfpipe::transport {

bool launched_by_mpi() {
  // Open MPI's mpirun, PMIx launchers, and PMI-1/2 launchers (MPICH's mpiexec).
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  // Slurm sets its own variables in batch scripts too, as a step of one task.
  const char* const tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return tasks != nullptr && std::string(tasks) != "1";
}

}  // namespace halfpipe::transport
