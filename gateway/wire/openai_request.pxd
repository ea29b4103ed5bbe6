# What reads each request calls itself without a look-up.
cimport cython

cdef class Extent:
    cdef public bint open
    cdef public Py_ssize_t overhead, images

cpdef read_body(bytes body, bint whole=*)
@cython.locals(found=Extent)
cpdef extent(fields)
cpdef bint _absent(raw)
cpdef _items_in(raw, Extent found)
@cython.locals(items=list)
cpdef _items_of(items, Extent found)
cpdef _parts_in(raw, Extent found)
cpdef output_limit(fields, names)
cpdef prompts(fields)
cpdef choices(str api, fields)
