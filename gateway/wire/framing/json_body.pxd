# Fields of a JSON body in the making.


cdef class JsonBody:
    cdef public object _keys, _scan
    cdef public list _parts
    cdef public Py_ssize_t _size

    cpdef feed(self, data)
    cpdef document(self)
