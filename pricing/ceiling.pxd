# Types for the compiled build: what a call can cost at most.
cimport cython

cdef class _Side:
    cdef public object numerator, denominator, twice, twice_below, half_up
    cdef public Py_ssize_t fractional

    cpdef object cost(self, object tokens)

cdef class Ceiling:
    cdef public object _fee
    cdef public tuple _sides, _single, _thresholds
    cdef public dict _units

    @cython.locals(sides=tuple, of_input=_Side, of_output=_Side)
    cpdef object cost(self, object input_tokens, object output_tokens, object units)
    @cython.locals(level=cython.Py_ssize_t)
    cpdef tuple _at(self, object input_tokens)
