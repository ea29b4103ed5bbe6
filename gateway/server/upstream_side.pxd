# Types for the compiled build: a connection to a provider.
cimport cython
from gateway.server.upstream_answer cimport UpstreamAnswer
from gateway.server.upstream_call cimport UpstreamCall

cdef class UpstreamConnection(UpstreamAnswer):
    cdef public object _pool, _now, _transport
    cdef public Py_ssize_t descriptor, _taken
    cdef public bint _raw, _heard, closed
    cdef public double asked_at, deadline, opened_at

    @cython.locals(head=bytes, body=bytes)
    cpdef object start(self, UpstreamCall call, double now)
    cpdef bint usable(self) except -1
    @cython.locals(call=UpstreamCall)
    cpdef object data_received(self, bytes data)
    cpdef bint _endless(self, Py_ssize_t read) except -1
    @cython.locals(parts=list)
    cpdef object _deliver(self, UpstreamCall call)
    @cython.locals(reusable=cython.bint)
    cpdef object _finish(self, UpstreamCall call)
