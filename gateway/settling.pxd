# Fields of a call that is to be written down.
from gateway.delivery cimport Delivery


cdef class Settling(Delivery):
    cdef public double _received_at, _body_at, _sent_at, _checkpoint_at
    cdef public object _ttft_us, _made
    cdef public Py_ssize_t _seen_bytes
    cdef public str _cut_by

    cpdef _ready(self)
    cpdef _settle(self, outcome, clean=*)
    cpdef _book(self, reading, ending, estimated, most=*)
