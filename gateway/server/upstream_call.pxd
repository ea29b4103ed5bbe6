# Types for the compiled build: one request on its way to a provider.

cdef class UpstreamCall:
    cdef public object endpoint, to, connection
    cdef public bytes head, body, method
    cdef public bint paused, whole
    cdef public double waits_until
