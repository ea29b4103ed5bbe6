/* How the compiled modules read attributes and call methods: as CPython's own interpreter does since 3.11 (PEP 659), each
 * place in the code remembers where an attribute of the last seen type lay. Without it a place that reads a field of a
 * class with slots takes ten times as long compiled as interpreted, for it looks the name up in the type each time.
 *
 * What is remembered holds for one version of a type: CPython gives a type a new version, never used before, whenever
 * the type or a base of it is changed. A place that sees many types gives up, and looks each name up as before.
 *
 * setup.py puts SITE_READ and SITE_CALL where Cython reads an attribute and calls a method.
 */
#ifndef SPENDGATE_COMPILED_H
#define SPENDGATE_COMPILED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <limits.h>

#if PY_VERSION_HEX >= 0x030B0000 && defined(__GNUC__) && !defined(Py_GIL_DISABLED) && !defined(PYPY_VERSION)

#define SITE_PATIENCE 64 /* so often a place learns anew */

/* Small: each call passes some hundreds of them. */
typedef struct {
    unsigned int version; /* of the type; 0, which no type has: nothing is known */
    unsigned short learned;
    unsigned short offset; /* of a slot; 0: it is the field of a compiled class */
    union {
        PyGetSetDef *field;
        PyObject *method; /* the type's: it lives as long as this version of the type */
    } found;
} Site;

/* What `name` is in `type`, where it may be remembered; else NULL, and nothing is raised. */
static PyObject *site_lookup(Site *site, PyTypeObject *type, PyObject *name) {
    if (site->learned >= SITE_PATIENCE || type->tp_getattro != PyObject_GenericGetAttr) return NULL;
    site->learned++;
    site->version = 0;
    PyObject *found = _PyType_Lookup(type, name);
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG) ? found : NULL;
}

static __attribute__((noinline)) void site_learn_read(Site *site, PyTypeObject *type, PyObject *name) {
    PyObject *found = site_lookup(site, type, name);
    if (found == NULL) return;
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type != T_OBJECT_EX || member->flags & READ_RESTRICTED) return;
        if (member->offset <= 0 || member->offset > USHRT_MAX) return;
        site->offset = (unsigned short)member->offset;
    } else if (Py_IS_TYPE(found, &PyGetSetDescr_Type)) {
        site->found.field = ((PyGetSetDescrObject *)found)->d_getset;
        site->offset = 0;
        if (site->found.field->get == NULL) return;
    } else {
        return;
    }
    if (PyType_IsSubtype(type, ((PyDescrObject *)found)->d_type)) site->version = type->tp_version_tag;
}

/* A new reference. NULL: it must be looked up, or with `raised`, an exception is set. */
static inline PyObject *site_read(Site *site, PyObject *object, PyObject *name, int *raised) {
    unsigned int version = Py_TYPE(object)->tp_version_tag;
    if (version == 0 || version != site->version) {
        site_learn_read(site, Py_TYPE(object), name);
        return NULL;
    }
    if (site->offset) return Py_XNewRef(*(PyObject **)((char *)object + site->offset));
    PyGetSetDef *field = site->found.field;
    PyObject *value = field->get(object, field->closure);
    *raised = value == NULL;
    return value;
}

#define SITE_READ(object, name)                                                                    \
    ({                                                                                             \
        static Site site;                                                                          \
        PyObject *site_object = (PyObject *)(object), *site_name = (PyObject *)(name);             \
        int site_raised = 0;                                                                       \
        PyObject *site_value = site_read(&site, site_object, site_name, &site_raised);             \
        if (site_value == NULL && !site_raised) site_value = __Pyx_PyObject_GetAttrStr(site_object, site_name); \
        site_value;                                                                                \
    })

static __attribute__((noinline)) void site_learn_call(Site *site, PyTypeObject *type, PyObject *name) {
    PyObject *found = site_lookup(site, type, name);
    if (found == NULL || !PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_METHOD_DESCRIPTOR)) return;
    /* an instance with a dict may hold another one of that name */
    if (type->tp_dictoffset != 0) return;
#ifdef Py_TPFLAGS_MANAGED_DICT
    if (PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT)) return;
#endif
    site->found.method = found;
    site->version = type->tp_version_tag;
}

static inline PyObject *site_call(Site *site, PyObject *name, PyObject *const *args, size_t count) {
    unsigned int version = Py_TYPE(args[0])->tp_version_tag;
    if (version != 0 && version == site->version)
        return PyObject_Vectorcall(site->found.method, args, count & ~PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    site_learn_call(site, Py_TYPE(args[0]), name);
    return PyObject_VectorcallMethod(name, args, count, NULL);
}

#define SITE_CALL(name, args, count)                                        \
    ({                                                                      \
        static Site site;                                                   \
        site_call(&site, (PyObject *)(name), (args), (size_t)(count));      \
    })

#else
#define SITE_READ(object, name) __Pyx_PyObject_GetAttrStr(object, name)
#define SITE_CALL(name, args, count) __Pyx_PyObject_FastCallMethod(name, args, count)
#endif

#endif
