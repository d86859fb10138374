#!/bin/sh
# tools/mpirun_local.sh - mpirun for one machine with fewer cores than ranks.
#
# Usage: sh tools/mpirun_local.sh -n RANKS PROGRAM [ARGUMENT...]
#
# Open MPI's ranks wait by spinning: they are told to yield, may be more than
# there are cores, and are bound to none. Nothing but shared memory is used,
# without the system calls that containers refuse; no ssh is needed; and root
# may start a job. Becomes mpirun, so that a caller's $! is mpirun's.
set -u

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl=self,vader
export OMPI_MCA_btl_vader_single_copy_mechanism=none
export OMPI_MCA_plm_rsh_agent=/bin/false

exec mpirun "$@"
