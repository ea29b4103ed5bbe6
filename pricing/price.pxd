# Types for the compiled build: a price finds its sheet and its ceiling.
cimport cython
from pricing.ceiling cimport Ceiling as Most
from pricing.sheet cimport Sheet as Rates

cdef class Price:
    cdef public object _schedule, since_ns, until_ns, source
    cdef public Rates _standard
    cdef public dict _sheets, _spellings, _ceilings, _asked
