# What follows from a caller and a model, found once for many calls.
cdef class Usual:
    cdef public object provider, subject, limits
    cdef public bytes target
    cdef public str method, path
    cdef public dict tags

cpdef usual_of(parts, caller, provider, bytes target, str model)
