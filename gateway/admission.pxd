# The steps of an admission call each other without a look-up.
cpdef admit(parts, caller, coded, plain)
cpdef _admitted(parts, caller, usual, facts, body, worst, now_ns, coded, received)
cpdef upstream_head(call, own)
cpdef reserve(parts, call)
