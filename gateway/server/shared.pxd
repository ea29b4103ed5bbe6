# Types for the compiled build: what client connections share.
from gateway.server.heads cimport Heads

cdef class Shared:
    cdef public object factory, now, loop, limits
    cdef public Heads heads
    cdef public bint draining
    cdef public Py_ssize_t malformed, slow_clients, in_flight
