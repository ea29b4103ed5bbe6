# What reads each report calls itself without a look-up.
cpdef bint read_usage(usage, into)
cpdef _take(details, fields, into)
cpdef first_count(table, name, other)
