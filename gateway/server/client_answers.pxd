# Types for the compiled build: the answers on a client's connection.
cimport cython
from gateway.server.client_ends cimport Ends
from gateway.server.incoming cimport Incoming
from gateway.server.shared cimport Shared

cdef class Answers(Ends):
    cpdef object data_received(self, bytes data)
    @cython.locals(plane=Shared)
    cpdef object _open(self, Incoming incoming)
    cpdef object _begin(self, Incoming incoming)
    cpdef object _answered(self, Incoming incoming)
    cpdef object _next(self)
    cpdef bint _outstanding(self) except -1
    @cython.locals(incoming=Incoming, out=list)
    cpdef object reply(self, object status, bytes reason, object headers, bytes body)
    @cython.locals(incoming=Incoming)
    cpdef object write(self, bytes data)
