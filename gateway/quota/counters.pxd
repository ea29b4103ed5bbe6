# Types for the compiled build: which counters hold for a subject.

cdef class Plan:
    cdef public list counters
    cdef public tuple names
