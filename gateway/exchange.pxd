# Fields of a call on its way.
from gateway.following cimport Following


cdef class Found:
    cdef public object parts, caller, until


cdef class Exchange(Following):
    cdef public object _caller, _near, _session
    cdef public bint wants_body

    cpdef _ready(self)
    cpdef _open(self)
    cpdef _read(self, coded, plain)
