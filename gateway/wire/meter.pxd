# Fields of the meters: each piece of an answer passes one.
cimport cython


cdef class Base:
    cdef public bint undo_encoding, rewrites
    cdef public object _reader, _decoder
    cdef public list _sample
    cdef public Py_ssize_t _sample_room, _decoded, _frames

    cpdef _begin(self, reader, headers)
    cpdef feed(self, data)
    cpdef _count(self, data)
    cpdef _keep(self, data)


cdef class JsonMeter(Base):
    cdef public object _body


cdef class SilentMeter(Base):
    pass


cdef class SseMeter(Base):
    cdef public object _blocks, _long
    cdef public tuple _needles, _nulls
    cdef public Py_ssize_t _opening
    cdef public bint _calm

    cpdef feed(self, data)
    cpdef bint _plain(self, data)
    cpdef bint _nulls_only(self, data)
    cpdef _events(self, data)
    cpdef _block(self, block)


cdef class StrippingSseMeter(SseMeter):
    cdef public object _strip
    cdef public list _out
    cdef public bint _dropped

    cpdef feed(self, data)


cdef class FrameMeter(Base):
    cdef public object _framer
    cdef public tuple _needles


cpdef bint _holds(data, tuple needles)
