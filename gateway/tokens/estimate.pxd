# Types for the compiled build: what every call teaches of its model.
cimport cython

cdef class Ratio:
    cdef public double over, below

cdef class Model:
    cdef public object input, output
    cdef public Py_ssize_t calls
    cdef public Ratio wire_in
    cdef public tuple wire_out

cdef class Estimator:
    cdef public object _vocabularies
    cdef public dict _models

    @cython.locals(known=Model, ratio=Ratio, calls=cython.Py_ssize_t)
    cpdef bint observe(
        self, object provider, object model, object usage, double bytes_in, double bytes_out, bint stream
    ) except -1
