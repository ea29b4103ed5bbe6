# Types for the compiled build: each row passes.

cdef class Gathering:
    cdef public object _begin, _loop, queue
    cdef public bint _due, busy
    cdef public Py_ssize_t _many
    cdef public double _until

    cpdef object put(self, object item)
    cpdef object soon(self)
