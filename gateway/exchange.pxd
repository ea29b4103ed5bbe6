# Fields of a call on its way.
from gateway.settling cimport Settling


cdef class Found:
    cdef public object parts, caller, until


cdef class Exchange(Settling):
    cdef public object _caller, _near, _upstream, _session, _extension
    cdef public bint wants_body

    cpdef _ready(self)
    cpdef _open(self)
    cpdef _read(self, coded, plain)
