# Types for the compiled build: HTTP heads.
cimport cython

cdef class Lines(list):
    cdef public bytes block
    cdef public Py_ssize_t known

cdef class Fields(list):
    cdef public dict _named
    cdef public object onward

    cpdef object get(self, bytes name)
    @cython.locals(named=dict, onward=list, header=tuple, name=bytes, value=bytes, lower=bytes, count=cython.Py_ssize_t)
    cpdef list _take(self, object headers)

cdef class KnownFields(Fields):
    cdef public dict _at

    @cython.locals(found=tuple)
    cpdef object get(self, bytes name)
