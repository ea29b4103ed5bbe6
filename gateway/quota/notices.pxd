# Types for the compiled build: what is told of quotas.
from gateway.quota.counter cimport Counter

cdef class Notices:
    cdef public object _counters, _observe, _told
    cdef public dict _exhausted

    cpdef object warn(self, Counter counter, object now_ns)
