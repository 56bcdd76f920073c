# Sourced: the settings for emulated machines, on which two guests stall each other for hundreds of milliseconds. The
# fence's limit is short all the same: rxe of this kernel never tells the last receive of an idle queue pair.
export WEFT_VERBS_ACK_TIMEOUT=268ms WEFT_VERBS_RNR_TIMER=28 WEFT_VERBS_FENCE_LIMIT=300ms WEFT_FENCE_TIMEOUT=2s
export WEFT_CONNECT_TIMEOUT=15s WEFT_HANDSHAKE_TIMEOUT=15s WEFT_SESSION_GRACE=20s WEFT_STALL_DEFAULT=30s
export WEFT_SHARD_STALL=30s WEFT_DEADLINE_DEFAULT=60s WEFT_PROBE_TIMEOUT=10s WEFT_VERBS_SILENCE_LIMIT=12s
