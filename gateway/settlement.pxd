# From reading to record, step by step without a look-up.
from gateway.wire.usage cimport Reading as Said  # under its own name it could not be imported from here

cdef class Ending:
    cdef public str outcome, cut_by
    cdef public object ended_ns, latency_us, ttft_us, gateway_us
    cdef public Py_ssize_t status, response_bytes
    cdef public bint clean, answered, sent

cpdef bint needs_estimate(call, Said reading, Ending ending)
cpdef merge_estimate(reported, estimated)
cpdef within(call, estimated)
cpdef str region_of(call, Said reading)
cpdef tuple price_usage(call, usage, Said reading)
cpdef record_of(call, Said reading, Ending ending, estimated)
