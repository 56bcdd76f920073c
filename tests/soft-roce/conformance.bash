# Sourced: what the conformance suite is run with on emulated machines, beside what everything there is. Hundreds of
# fabrics come and go, each with memory that must be filled and registered, and a fence that waits for rxe's silence.
source "${BASH_SOURCE%/*}/emulated.bash"
export WEFT_TRANSPORT=verbs WEFT_VERBS_FENCE_LIMIT=50ms WEFT_VERBS_RECEIVE_SLOTS=256 WEFT_POOL_BYTES=8MiB
