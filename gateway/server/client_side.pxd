# Types for the compiled build: a client's connection.
cimport cython
from gateway.server.client_answers cimport Answers
from gateway.server.heads cimport KnownHead
from gateway.server.incoming cimport Incoming

cdef class ClientConnection(Answers):
    cdef public list _headers
    cdef public bytes _beginning, _url, _unread
    cdef public Py_ssize_t _head_bytes, _left
    cdef public object _parser

    cpdef object data_received(self, bytes data)
    @cython.locals(known=KnownHead, body=bytes)
    cpdef object _first(self, bytes data)
    @cython.locals(incoming=Incoming)
    cpdef object _again(self, KnownHead known, bytes body)
    @cython.locals(left=Py_ssize_t, piece=bytes, rest=bytes)
    cpdef object _take(self, bytes data)
    cpdef object _hold(self, bytes data)
    cpdef object _feed(self, bytes data)
    cpdef object _unfinished(self, Incoming incoming, Py_ssize_t read)
    @cython.locals(incoming=Incoming, headers=list)
    cpdef object on_header(self, bytes name, bytes value)
    @cython.locals(incoming=Incoming)
    cpdef object on_body(self, bytes body)
    @cython.locals(incoming=Incoming)
    cpdef object on_message_complete(self)
