# Fields of the reader that most answers meet.


cdef class OpenAIReader:
    cdef public object reading, _dialect, _facts
    cdef public bint terminal, _ok
