# Types for the compiled build: what one call holds.

cdef class Reservation:
    cdef public object call_id, subject, reserved_ns
    cdef public tuple vector, quotas
    cdef public list spans, beside
    cdef public Reservation of
    cdef public bint growing
