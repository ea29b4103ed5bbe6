# Types for the compiled build: counts of observations.
cimport cython

cdef class Histogram:
    cdef public tuple bounds
    cdef public list counts
    cdef public double total
    cdef public dict examples

    @cython.locals(bucket=cython.Py_ssize_t, bound=double)
    cpdef object observe(self, double value)
