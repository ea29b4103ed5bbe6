# Types for the compiled build: a price finds its sheet and its ceiling.
cimport cython
from pricing.ceiling cimport Ceiling as Most
from pricing.sheet cimport Sheet as Rates

cdef class Price:
    cdef public object _schedule, since_ns, until_ns, source
    cdef public Rates _standard
    cdef public dict _sheets, _spellings, _tiers, _ceilings, _asked

    @cython.locals(sheet=Rates, other=Price)
    cpdef object bill(self, usage, at_ns, service_tier=*, region=*, reported_cost_nanousd=*, bint summed=*)
    cpdef Price at(self, at_ns)
    @cython.locals(found=Most)
    cpdef object ceiling(self, input_tokens, output_tokens, units, service_tier=*, region=*)
