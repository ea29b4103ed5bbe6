# The steps of an admission call each other without a look-up.
cpdef admit(parts, caller, body, size)
cpdef upstream_head(call, own)
cpdef listed_price(parts, provider, str model, now_ns)
cpdef amounts_of(price, limit, facts, others=*)
cpdef limits_of(parts, provider, facts)
cpdef others_of(parts, provider, principal, facts, limit, now_ns)
cpdef reserve(parts, call)
cpdef forbidden(provider, principal, str model, bint named=*)
