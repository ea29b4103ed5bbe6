# Fields of what a response said.
cdef class Reading:
    cdef public object usage, reported_cost_nanousd, beside, sample
    cdef public str source, model, service_tier, region, claim, begun_as, waived
    cdef public bint complete, partial, failed
    cdef public Py_ssize_t decoded_bytes, frames
