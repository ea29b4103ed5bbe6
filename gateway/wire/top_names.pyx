"""What ``top_names.py`` does, in one pass over the text, however it is set."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from gateway.wire.json_strings cimport closing

cdef enum:
    MOST = 64  # names; of a text with more each is looked at

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *one, const char *other, size_t size)


def odd_names(bytes body not None):
    """See ``top_names.py``."""
    cdef const char *at = PyBytes_AS_STRING(body)
    cdef const char *end = at + PyBytes_GET_SIZE(body)
    cdef const char *close
    cdef const char *begins[MOST]
    cdef Py_ssize_t sizes[MOST]
    cdef Py_ssize_t depth = 0, count = 0, size, number
    cdef bint named = False, capital
    cdef unsigned char one
    cdef list odd = []
    while at < end:
        one = at[0]
        if one == b'"':
            close = closing(at, end)
            if close == NULL:
                return None
            if depth == 1 and not named:
                named = True
                size = close - at - 1
                if count == MOST:
                    return None
                capital = False
                for number in range(size):
                    one = at[1 + number]
                    if one == b"\\" or one > 126:
                        return None
                    capital = capital or b"A" <= one <= b"Z"
                if capital:
                    odd.append((<bytes>(at + 1)[:size]).decode())
                for number in range(count):
                    if sizes[number] == size and not strncasecmp(begins[number], at + 1, size):
                        return None
                begins[count], sizes[count] = at + 1, size
                count += 1
            at = close
        elif one == b"{" or one == b"[":
            depth += 1
        elif one == b"}" or one == b"]":
            depth -= 1
        elif one == b"," and depth == 1:
            named = False
        at += 1
    return odd
