# Types for the compiled build: what settled calls are counted in.
cimport cython
from gateway.metrics.histogram cimport Histogram as Counts

cdef class Spend:
    cdef public object completed, cost_nanousd
    cdef public dict outcomes
    cdef public list tokens
    cdef public Speed speed

cdef class Speed:
    cdef public Counts duration, first_token
    cdef public object estimated, unpriced

cdef class Flow:
    cdef public object inflight
    cdef public dict answers

cdef class Metrics:
    cdef public object max_series, series_folded
    cdef public object quota_samples, certificates, quota_events, webhook_deliveries
    cdef public dict _spend, _speed, _flows, _vitals
    cdef public dict _quota_refusals, _refusals, _exceeded, _failures, _preflights
    cdef public Counts _overhead, _commit, _lag

    @cython.locals(flow=Flow)
    cpdef object started(self, object provider)
    @cython.locals(flow=Flow, answers=dict, spend=Spend, speed=Speed)
    cpdef object settled(self, object record, object dialect=*)
    @cython.locals(tokens=list, units=tuple, place=cython.Py_ssize_t, at=cython.Py_ssize_t)
    cpdef object _add(self, Spend spend, object record)
    @cython.locals(spend=Spend)
    cpdef Spend _spend_of(self, object team, object workflow, object provider, object model)
    @cython.locals(speed=Speed)
    cpdef Speed _speed_of(self, object provider, object model)
