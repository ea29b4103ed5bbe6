# Fields of the reader that most answers meet.
cimport cython
from gateway.wire.usage cimport Reading as Said  # under its own name it could not be imported from here


cdef class OpenAIReader:
    cdef public Said reading
    cdef public object _dialect, _facts
    cdef public bint terminal, _ok, _usual, _answered

    cpdef frame(self, data)
    @cython.locals(reading=Said)
    cpdef _take(self, answer)
    @cython.locals(reading=Said)
    cpdef document(self, document, data=*)
    cpdef done(self)
