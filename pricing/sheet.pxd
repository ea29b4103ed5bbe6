# Types for the compiled build: from usage to a bill.
cimport cython

cdef class _Band:
    cdef public tuple _leaves, input, output

    @cython.locals(parts=list, leaf=tuple, numerator=object)
    cpdef str bill(self, tuple values, list lines)

cdef class Sheet:
    cdef public object source, minimum_audio_ms, _fee, _read, _first_unit
    cdef public dict card
    cdef public tuple _thresholds, _bands, _units, _nothing, _no_units, _plain
    cdef public _Band _single

    @cython.locals(plain=tuple, values=tuple)
    cpdef object bill(self, object usage)
    @cython.locals(band=_Band, lines=list)
    cpdef object _bill_at(self, tuple values, object size)
    cpdef object _bill_plain(self, tuple rates, object tokens_in, object tokens_out)
