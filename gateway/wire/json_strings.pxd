# Where strings of a JSON text end, for sources in C's types: compiled into each that takes it from here.
from libc.string cimport memchr


cdef inline const char *closing(const char *begin, const char *end) noexcept:
    """The quote that closes the string whose first one is at ``begin``; NULL where none does before ``end``."""
    cdef const char *close = begin
    cdef const char *back
    while True:
        close = <const char *>memchr(close + 1, b'"', end - close - 1)
        if close == NULL:
            return NULL
        back = close
        while back[-1] == b"\\":  # the string's first quote is none
            back -= 1
        if (close - back) % 2 == 0:
            return close
