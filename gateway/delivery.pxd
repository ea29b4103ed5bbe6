# Fields of what is delivered of a call.


cdef class Delivery:
    cdef public object _parts, _client, _call, _meter, _timer, _record, _length, _declared, _beside_nanousd
    cdef public int _state
    cdef public bint _gone, _replied, _started, _released
    cdef public str _outcome, _failure
    cdef public object _status, _trailers
    cdef public bytes _reason
    cdef public list _held
    cdef public object _out_headers
    cdef public Py_ssize_t _held_bytes, _written

    cpdef _ready(self)
    cpdef _to(self, int state)
    cpdef _forward(self, data, meter)
    cpdef _whole(self)
    cpdef _flush_held(self)
