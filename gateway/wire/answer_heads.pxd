# Types for the compiled build: heads of answers that were known.

cdef class KnownHead:
    cdef public object fields
    cdef public bytes framing
    cdef public Py_ssize_t end

cdef class Shape:
    cdef bytes _first
    cdef list _names, _prefixes, _lines, _headers, _framing, _onward
    cdef dict _at

    cdef KnownHead read(self, bytes data)
    cdef const char *_changed(self, Py_ssize_t place, const char *line, const char *end) except? NULL

cdef class Shapes:
    cdef list _known
    cdef Py_ssize_t _strange

    cpdef KnownHead read(self, bytes data)
