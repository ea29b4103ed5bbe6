# Types for the compiled build: the state of a client's connection.
cimport cython
from gateway.server.heads cimport KnownHead
from gateway.server.incoming cimport Incoming
from gateway.server.shared cimport Shared

cdef class Ends:
    cdef public Shared _plane
    cdef public object _transport, _queue, _exchange, _broken
    cdef public Incoming _incoming, _current
    cdef public list _held
    cdef public Py_ssize_t _held_bytes, _stall_size, _dropped
    cdef public bint _stopped, _lingering, _raw, _read_paused, _write_paused, _told_paused, _shutting, closed
    cdef public double deadline, _stall_until
    cdef public str peer
    cdef public KnownHead known

    cpdef object _end(self)
    @cython.locals(plane=Shared, incoming=Incoming, current=Incoming)
    cpdef object _patience(self)
