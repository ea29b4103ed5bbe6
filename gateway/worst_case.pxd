# The steps to a bound call each other without a look-up.
cpdef listed_price(parts, provider, str model, now_ns)
cpdef amounts_of(price, limit, facts, others=*)
cpdef limits_of(parts, provider, facts)
cpdef others_of(parts, provider, principal, facts, limit, now_ns)
cpdef worst_case(parts, provider, principal, facts, limits, now_ns)
