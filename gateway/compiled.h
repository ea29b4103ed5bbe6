/* How the compiled modules read attributes and call methods: as CPython's own interpreter does since 3.11 (PEP 659),
 * each place in the code remembers where an attribute of the last seen type lay. Without it a place that reads a field of a
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

/* What a name stands for, where it is no slot, whose offset is larger. */
enum { IS_FIELD, IS_VALUE, IS_DESCRIPTOR, IS_METHOD, FIRST_OFFSET };

/* Small: each call passes some hundreds of them. */
typedef struct {
    unsigned int version; /* of the type; 0, which no type has: nothing is known */
    unsigned short learned;
    unsigned short offset; /* of a slot, or one of the above */
    union {
        PyGetSetDef *field; /* of a compiled class */
        PyObject *of_type; /* it lives as long as this version of the type */
    } found;
} Site;

/* An instance with a dict may hold something else by the name of what its type has. */
static int has_dict(PyTypeObject *type) {
#ifdef Py_TPFLAGS_MANAGED_DICT
    if (PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT)) return 1;
#endif
    return type->tp_dictoffset != 0;
}

/* What `name` is in `type`, where it may be remembered; else NULL, and nothing is raised. */
static PyObject *site_lookup(Site *site, PyTypeObject *type, PyObject *name) {
    if (site->learned >= SITE_PATIENCE || type->tp_getattro != PyObject_GenericGetAttr) return NULL;
    site->learned++;
    site->version = 0;
    PyObject *found = _PyType_Lookup(type, name);
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG) ? found : NULL;
}

/* Whether `found` is a field of instances, by whatever means; then the site knows where. */
static int site_learn_field(Site *site, PyTypeObject *type, PyObject *found) {
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type != T_OBJECT_EX || member->flags & READ_RESTRICTED) return 0;
        if (member->offset < FIRST_OFFSET || member->offset > USHRT_MAX) return 0;
        site->offset = (unsigned short)member->offset;
    } else if (Py_IS_TYPE(found, &PyGetSetDescr_Type)) {
        site->found.field = ((PyGetSetDescrObject *)found)->d_getset;
        site->offset = IS_FIELD;
        if (site->found.field->get == NULL) return 0;
    } else {
        return 0;
    }
    return PyType_IsSubtype(type, ((PyDescrObject *)found)->d_type);
}

static __attribute__((noinline)) void site_learn_read(Site *site, PyTypeObject *type, PyObject *name) {
    PyObject *found = site_lookup(site, type, name);
    if (found == NULL) return;
    if (!site_learn_field(site, type, found)) {
        PyTypeObject *kind = Py_TYPE(found);
        if (kind->tp_descr_set == NULL && has_dict(type)) return;
        site->offset = kind->tp_descr_get == NULL ? IS_VALUE : IS_DESCRIPTOR;
        if (site->offset == IS_VALUE && kind->tp_descr_set != NULL) return;
        site->found.of_type = found;
    }
    site->version = type->tp_version_tag;
}

/* What lies in `object` at a place that was learned, a new reference. NULL: nothing does, or with `raised`, an
 * exception is set. */
static inline PyObject *site_field(Site *site, PyObject *object, int *raised) {
    if (site->offset >= FIRST_OFFSET) return Py_XNewRef(*(PyObject **)((char *)object + site->offset));
    PyGetSetDef *field = site->found.field;
    PyObject *value = field->get(object, field->closure);
    *raised = value == NULL;
    return value;
}

static __attribute__((noinline)) PyObject *site_of_type(Site *site, PyObject *object, int *raised) {
    PyObject *found = Py_NewRef(site->found.of_type);
    if (site->offset == IS_VALUE) return found;
    PyObject *value = Py_TYPE(found)->tp_descr_get(found, object, (PyObject *)Py_TYPE(object));
    Py_DECREF(found);
    *raised = value == NULL;
    return value;
}

/* A new reference. NULL: it must be looked up, or with `raised`, an exception is set. */
static inline PyObject *site_read(Site *site, PyObject *object, PyObject *name, int *raised) {
    unsigned int version = Py_TYPE(object)->tp_version_tag;
    if (version == 0 || version != site->version) {
        site_learn_read(site, Py_TYPE(object), name);
        return NULL;
    }
    if (site->offset == IS_VALUE || site->offset == IS_DESCRIPTOR) return site_of_type(site, object, raised);
    return site_field(site, object, raised);
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
    if (found == NULL) return;
    if (!site_learn_field(site, type, found)) {
        if (!PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_METHOD_DESCRIPTOR) || has_dict(type)) return;
        site->found.of_type = found;
        site->offset = IS_METHOD;
    }
    site->version = type->tp_version_tag;
}

static inline PyObject *site_call(Site *site, PyObject *name, PyObject *const *args, size_t count) {
    unsigned int version = Py_TYPE(args[0])->tp_version_tag;
    if (version != 0 && version == site->version) {
        if (site->offset == IS_METHOD)
            return PyObject_Vectorcall(site->found.of_type, args, count & ~PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        int raised = 0;
        PyObject *callable = site_field(site, args[0], &raised);
        if (callable != NULL) {
            /* the object's own place before the arguments may be used */
            size_t rest = (PyVectorcall_NARGS(count) - 1) | PY_VECTORCALL_ARGUMENTS_OFFSET;
            PyObject *result = PyObject_Vectorcall(callable, args + 1, rest, NULL);
            Py_DECREF(callable);
            return result;
        }
        if (raised) return NULL;
        return PyObject_VectorcallMethod(name, args, count, NULL);
    }
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
