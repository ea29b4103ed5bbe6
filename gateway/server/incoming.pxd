# Types for the compiled build: one request as it arrives.
cimport cython

cdef class Incoming:
    cdef public double began_at, body_at
    cdef public object head, left
    cdef public list parts
    cdef public Py_ssize_t size, raw, gathered, seen, overhead, dry
    cdef public bint complete, seen_head, too_large, discard, expects, keep_alive, began, answered, chunked

    cpdef bytes body(self)

@cython.locals(out=list, header=tuple, bodiless=cython.bint)
cpdef list answer_head(
    Incoming incoming, Py_ssize_t status, bytes reason, object headers, object length, bint draining
)
