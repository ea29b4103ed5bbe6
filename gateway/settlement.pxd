# From reading to record, step by step without a look-up.
cpdef bint needs_estimate(call, reading, ending)
cpdef merge_estimate(reported, estimated)
cpdef within(call, estimated)
cpdef tuple price_usage(call, usage, reading)
cpdef record_of(call, reading, ending, estimated)
