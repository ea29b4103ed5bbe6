# What reads each request calls itself without a look-up.
cimport cython

cpdef read_body(body)
cpdef extent(fields)
cpdef bint _absent(raw)
cpdef _items_in(raw, found)
@cython.locals(items=list)
cpdef _items_of(items, found)
cpdef _parts_in(raw, found)
cpdef prompts(fields)
cpdef choices(str api, fields)
