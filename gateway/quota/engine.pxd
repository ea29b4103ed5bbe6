# Types for the compiled build: what every call asks of the quotas.
cimport cython
from gateway.quota.counter cimport Counter, Span
from gateway.quota.counters cimport Plan
from gateway.quota.notices cimport Notices
from gateway.quota.terms cimport Reservation as Held  # under its own name it could not be imported from here

cdef class Quotas:
    cdef public tuple rules
    cdef public object counters
    cdef public dict _plans, _live
    cdef public list _noted, _freed
    cdef public Notices notices

    @cython.locals(
        plan=Plan, vector=tuple, spans=list, counter=Counter, span=Span, base=list, used=list, reserved=list,
        position=cython.Py_ssize_t, unit=cython.Py_ssize_t, held=Held,
    )
    cpdef object reserve(self, object call_id, object subject, object bound, object now_ns)
    @cython.locals(vector=tuple, reserved=tuple, span=Span, counter=Counter)
    cpdef bint settle(self, Held held, object actual, object now_ns) except -1
    cpdef object release(self, Held held, object now_ns)
    @cython.locals(
        vector=tuple, span=Span, counter=Counter, reserved=list, settled=list,
        position=cython.Py_ssize_t, unit=cython.Py_ssize_t,
    )
    cpdef object _return(self, Held held, tuple used)
