# What reads each answer calls itself without a look-up.
cpdef usual_answer(bytes data)
cpdef usage_of(report)
