"""What ``marks.py`` does: a quote is found by the processor's widest comparison, what may follow it in a table."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp


cdef class Marks:
    """See ``marks.py``."""

    cdef list _rests
    """For each byte: the marks that go on with it behind their quote, without that."""
    cdef bint _any[256]
    """Whether there are such."""

    def __init__(self, tuple marks not None):
        cdef unsigned char first
        cdef bytes mark
        self._rests = [()] * 256
        for mark in marks:
            first = mark[1]
            self._rests[first] += (mark[1:],)
            self._any[first] = True

    cpdef bint among(self, bytes body) except -1:
        """See ``marks.py``."""
        cdef const char *begin = PyBytes_AS_STRING(body)
        cdef const char *end = begin + PyBytes_GET_SIZE(body)
        cdef const char *quote = <const char *>memchr(begin, b'"', end - begin)
        cdef unsigned char first
        cdef bytes rest
        while quote != NULL:
            first = quote[1]  # a NUL stands behind the last byte
            if self._any[first] and (quote == begin or quote[-1] != b"\\"):
                for rest in <tuple>self._rests[first]:
                    if end - quote > PyBytes_GET_SIZE(rest) and not memcmp(
                        quote + 1, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest)
                    ):
                        return True
            quote = <const char *>memchr(quote + 1, b'"', end - quote - 1)
        return False
