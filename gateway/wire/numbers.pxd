# Called for each number and name of a report.
cpdef count(value, largest=*)
cpdef str text(value, Py_ssize_t limit=*)
