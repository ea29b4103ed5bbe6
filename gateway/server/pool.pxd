# Types for the compiled build: the connections to providers.
cimport cython
from gateway.server.upstream_call cimport UpstreamCall
from gateway.server.upstream_side cimport UpstreamConnection

cdef class EndpointPool:
    cdef public object endpoint, breaker, heads, waiting, _connector, _now, _loop
    cdef public bytes prefix, proxy_fields
    cdef public list idle
    cdef public set open, _connecting
    cdef public Py_ssize_t _used

    @cython.locals(connection=UpstreamConnection, idle=list, now=double)
    cpdef object send(self, UpstreamCall call)
    @cython.locals(connection=UpstreamConnection, asked=list)
    cpdef object _ask(self, double now)
    @cython.locals(idle_seconds=double, now=double)
    cpdef object give_back(self, UpstreamConnection connection)

cdef class Pool:
    cdef public object _clock, _loop, _connector
    cdef public dict _pools, _known
    cdef public bint _sweeping

    @cython.locals(pool=EndpointPool, call=UpstreamCall, known=tuple)
    cpdef object send(self, object endpoint, bytes head, bytes body, bytes method, object to)
    cpdef EndpointPool _pool_of(self, object endpoint)
