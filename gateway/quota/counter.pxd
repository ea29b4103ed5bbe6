# Types for the compiled build: counters and their windows.
cimport cython

cdef class Span:
    cdef public Counter counter
    cdef public object start_ns, end_ns
    cdef public list used, reserved

cdef class Counter:
    cdef public object rule, bucket, limits, raises, parts, ahead, near, warned, growing
    cdef public Span span
    cdef public list base
    cdef public tuple units
    cdef public bint blocking

    cpdef object passed(self, object thresholds)
    @cython.locals(position=cython.Py_ssize_t)
    cpdef bint nearing(self) except -1
    cpdef Span current(self, object now_ns)
    cpdef Span roll(self, object now_ns)
