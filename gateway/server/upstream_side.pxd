# Types for the compiled build: a connection to a provider.
cimport cython
from gateway.server.upstream_call cimport UpstreamCall
from gateway.wire.answer_heads cimport KnownHead
from gateway.wire.http_heads cimport Fields, KnownFields

cdef class UpstreamConnection:
    cdef public object _pool, _now, _transport, _parser, _headers
    cdef public UpstreamCall _call
    cdef public list _fields, _trailers, _interims, _parts
    cdef public bytes _beginning, _reason
    cdef public KnownFields _known
    cdef public Py_ssize_t _status, _head_bytes, _dry, _interim_count, descriptor
    cdef public bint _at_start, _seen_head, _fresh_head, _complete, _bodiless, _sized, _keep, _extra, _raw, _heard, closed
    cdef public double asked_at, deadline, idle_seconds, opened_at

    cpdef object _reset(self)
    @cython.locals(head=bytes, body=bytes)
    cpdef object start(self, UpstreamCall call, double now)
    cpdef bint usable(self) except -1
    @cython.locals(call=UpstreamCall)
    cpdef object data_received(self, bytes data)
    @cython.locals(known=KnownHead)
    cpdef object _begin(self, bytes data)
    cpdef bint _endless(self, Py_ssize_t read) except -1
    @cython.locals(parts=list)
    cpdef object _deliver(self, UpstreamCall call)
    @cython.locals(reusable=cython.bint)
    cpdef object _finish(self, UpstreamCall call)
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
