# Types for the compiled build: heads that came before.
cimport cython

cdef class KnownHead:
    cdef public bytes before, after
    cdef public object head
    cdef public bint keep_alive
    cdef public Py_ssize_t length, stop

    @cython.locals(before=bytes, after=bytes, digits=bytes, start=Py_ssize_t, stop=Py_ssize_t, body_at=Py_ssize_t, length=Py_ssize_t)
    cpdef bytes body_of(self, bytes data)

cdef class Heads:
    cdef public dict _known

    cpdef KnownHead find(self, bytes data)
