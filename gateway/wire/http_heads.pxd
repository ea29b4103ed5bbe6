# Types for the compiled build: HTTP heads.
cimport cython

cpdef tuple _learn(bytes name)

cdef class Fields(list):
    cdef public dict named
    cdef public list onward
