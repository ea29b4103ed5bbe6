# Types for the compiled build: the maker of ids.

cdef class Ids:
    cdef public object _clock, _counter, _ended, _millis, _second
    cdef public str _head, _high, _node, _stamp

    cpdef object _begin(self, object millis, object counter)
