"""What ``answer_heads.py`` does: the bytes are passed once, and no lines are made of them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from gateway.wire.http_heads import RESPONSE_DROP, USUAL_CONNECTION, KnownFields, Lines

MAX_SHAPES = 8
MAX_STRANGE = 16
FIRST = b"HTTP/1.1 200"
FRAMING = frozenset((b"connection", b"content-length", b"proxy-connection", b"transfer-encoding", b"upgrade"))
cdef enum:
    MAX_FIELDS = 100
    MAX_HEAD_BYTES = 8192


cdef bint clean(const char *at, const char *end) noexcept:
    """No control character but tabs."""
    cdef unsigned char byte
    while at < end:
        byte = at[0]
        if byte < 32 and byte != 9 or byte == 127:
            return False
        at += 1
    return True


cdef bytes joined(bytes begin, const char **lines, list places, bytes end):
    """The lines at these places, from one's first byte to the next one's, between two texts."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(begin) + PyBytes_GET_SIZE(end)
    cdef Py_ssize_t place
    for place in places:
        size += lines[place + 1] - lines[place]
    cdef bytes found = PyBytes_FromStringAndSize(NULL, size)
    cdef char *at = PyBytes_AS_STRING(found)
    memcpy(at, PyBytes_AS_STRING(begin), PyBytes_GET_SIZE(begin))
    at += PyBytes_GET_SIZE(begin)
    for place in places:
        size = lines[place + 1] - lines[place]
        memcpy(at, lines[place], size)
        at += size
    memcpy(at, PyBytes_AS_STRING(end), PyBytes_GET_SIZE(end))
    return found


cdef class KnownHead:
    """See ``answer_heads.py``."""


cdef class Shape:
    """See ``answer_heads.py``. Lines are kept with their ends."""

    def __init__(self, bytes first not None, list names not None):
        lower = [name.lower() for name in names]
        self._first = first
        self._names = names
        self._prefixes = [name + b": " for name in names]
        self._lines = [b"\0"] * len(names)
        self._headers = [(name, b"") for name in names]
        self._at = {name: tuple([place for place, one in enumerate(lower) if one == name]) for name in lower}
        self._framing = [place for place, name in enumerate(lower) if name in FRAMING]
        self._onward = [place for place, name in enumerate(lower) if name not in RESPONSE_DROP]

    cdef KnownHead read(self, bytes data):
        cdef const char *lines[MAX_FIELDS + 1]
        cdef const char *begin = PyBytes_AS_STRING(data)
        cdef const char *end = begin + min(PyBytes_GET_SIZE(data), MAX_HEAD_BYTES)
        cdef const char *at = begin + PyBytes_GET_SIZE(self._first)
        cdef Py_ssize_t place, size
        cdef bytes line
        if at > end or memcmp(begin, PyBytes_AS_STRING(self._first), PyBytes_GET_SIZE(self._first)):
            return None
        for place in range(len(self._names)):
            line = <bytes>self._lines[place]
            size = PyBytes_GET_SIZE(line)
            lines[place] = at
            if end - at >= size and not memcmp(at, PyBytes_AS_STRING(line), size):
                at += size
            else:
                at = self._changed(place, at, end)
                if at == NULL:
                    return None
        lines[len(self._names)] = at
        if end - at < 2 or at[0] != b"\r" or at[1] != b"\n":
            return None
        cdef list headers = self._headers
        onward = Lines([headers[place] for place in self._onward], joined(b"", lines, self._onward, b""))
        cdef KnownHead found = KnownHead.__new__(KnownHead)
        found.fields = KnownFields(headers, self._at, onward)
        found.framing = joined(self._first, lines, self._framing, b"\r\n")
        found.end = at + 2 - begin
        return found

    cdef const char *_changed(self, Py_ssize_t place, const char *line, const char *end) except? NULL:
        """Where the line ends, whose value is another than before; NULL where it is not written as it was."""
        cdef bytes prefix = <bytes>self._prefixes[place]
        cdef bytes name = <bytes>self._names[place]
        cdef const char *begin = line + PyBytes_GET_SIZE(prefix)
        if begin >= end or memcmp(line, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix)):
            return NULL
        cdef const char *close = <const char *>memchr(begin, b"\r", end - begin)
        if close == NULL or close == begin or end - close < 2 or close[1] != b"\n" or not clean(begin, close):
            return NULL
        if begin[0] == b" " or begin[0] == b"\t" or close[-1] == b" " or close[-1] == b"\t":
            return NULL
        cdef bytes value = PyBytes_FromStringAndSize(begin, close - begin)
        if name.lower() == b"connection" and value.lower() not in USUAL_CONNECTION:
            return NULL
        self._lines[place] = PyBytes_FromStringAndSize(line, close + 2 - line)
        self._headers[place] = (name, value)
        return close + 2


cdef class Shapes:
    """See ``answer_heads.py``."""

    def __init__(self):
        self._known = []

    def __len__(self):
        return len(self._known)

    cpdef KnownHead read(self, bytes data):
        """See ``answer_heads.py``."""
        cdef Shape shape
        cdef KnownHead found
        for shape in self._known:
            found = shape.read(data)
            if found is not None:
                return found
        return None

    def learn(self, bytes data not None, list headers not None):
        """See ``answer_heads.py``."""
        if self._strange >= MAX_STRANGE or len(headers) > MAX_FIELDS or not data.startswith(FIRST):
            return
        cdef Shape shape = Shape(data[: data.find(b"\n") + 1], [name for name, _ in headers])
        cdef KnownHead found = shape.read(data)
        if found is None or found.fields != headers:
            self._strange += 1
            return
        self._strange = 0
        self._known.insert(0, shape)
        del self._known[MAX_SHAPES:]
