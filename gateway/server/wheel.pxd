# Types for the compiled build: timers.
cimport cython

cdef class WheelTimer:
    cdef public object callback
    cdef public Py_ssize_t rounds

    cpdef object cancel(self)

cdef class Wheel:
    cdef public object _loop, monotonic, now_ns
    cdef public list _slots
    cdef public Py_ssize_t _tick, _armed
    cdef public double _next_at
    cdef public bint _running

    @cython.locals(ahead=double, ticks=cython.Py_ssize_t, timer=WheelTimer, slot=list)
    cpdef object after(self, double seconds, object callback)
    @cython.locals(timer=WheelTimer, stay=list)
    cpdef object _fire(self, list due)
