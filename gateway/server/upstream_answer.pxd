# Types for the compiled build: an answer as it is understood.
cimport cython
from gateway.server.upstream_call cimport UpstreamCall
from gateway.wire.answer_heads cimport KnownHead, Shapes
from gateway.wire.http_heads cimport Fields, KnownFields

cdef class UpstreamAnswer:
    cdef public object _parser, _headers
    cdef public Shapes _heads
    cdef public UpstreamCall _call
    cdef public list _fields, _trailers, _interims, _parts
    cdef public bytes _beginning, _reason
    cdef public KnownFields _known
    cdef public Py_ssize_t _status, _head_bytes, _dry, _interim_count
    cdef public bint _at_start, _seen_head, _fresh_head, _complete, _bodiless, _sized, _keep, _extra
    cdef public double idle_seconds

    cpdef object _reset(self)
    @cython.locals(known=KnownHead)
    cpdef object _begin(self, bytes data)
    cpdef object on_message_begin(self)
    cpdef object on_status(self, bytes status)
    @cython.locals(fields=list)
    cpdef object on_header(self, bytes name, bytes value)
    @cython.locals(call=UpstreamCall, status=Py_ssize_t, fields=Fields)
    cpdef object on_headers_complete(self)
    @cython.locals(headers=list, beginning=bytes)
    cpdef Fields _fields_of_head(self, Py_ssize_t status)
    cpdef object on_body(self, bytes body)
    cpdef object on_message_complete(self)
