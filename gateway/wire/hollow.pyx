"""What ``hollow.py`` does, for all strings: a quote is found by the processor's widest comparison."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr

from gateway.wire.json_strings cimport closing

LEAST_BYTES = 2048
LONG_BYTES = 256
HOLLOW = "..."
cdef bytes MARK = HOLLOW.encode()
cdef Py_ssize_t LEAST = LEAST_BYTES, LONG = LONG_BYTES


def hollow(bytes body not None):
    """See ``hollow.py``."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    if size < LEAST:
        return body
    cdef const char *kept = PyBytes_AS_STRING(body)
    cdef const char *end = kept + size
    cdef const char *begin = <const char *>memchr(kept, b'"', size)
    cdef const char *close
    cdef list parts = []
    while begin != NULL:
        close = closing(begin, end)
        if close == NULL:
            break
        if close - begin > LONG:
            parts.append(PyBytes_FromStringAndSize(kept, begin + 1 - kept))
            kept = close
        begin = <const char *>memchr(close + 1, b'"', end - close - 1)
    if not parts:
        return body
    parts.append(PyBytes_FromStringAndSize(kept, end - kept))
    return MARK.join(parts)
