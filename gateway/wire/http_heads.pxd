# Types for the compiled build: HTTP heads.
cimport cython

cdef dict _SPELT

cpdef tuple _learn(bytes name)

@cython.locals(onward=list, header=tuple, name=bytes, value=bytes, known=tuple, lower=bytes, count=cython.Py_ssize_t)
cpdef list _take(object headers, dict named)

cdef class Fields(list):
    cdef public dict named
    cdef public list onward
