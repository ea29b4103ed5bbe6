# Fields of an answer that may end early.
from gateway.settling cimport Settling


cdef class Following(Settling):
    cdef public object _upstream, _extension

    cpdef _ready(self)
    cpdef _follow(self, call, meter, headers)
