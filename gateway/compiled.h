/* How the compiled modules read attributes and call methods: as CPython's own interpreter does since 3.11 (PEP 659),
 * each place in the code remembers where an attribute of the last seen type lay. Without it a place that reads a field of a
 * class with slots takes ten times as long compiled as interpreted, for it looks the name up in the type each time.
 *
 * What is remembered holds for one version of a type: CPython gives a type a new version, never used before, whenever
 * the type or a base of it is changed. A place that sees many types gives up, and looks each name up as before.
 *
 * setup.py puts SITE_READ, SITE_WRITE and SITE_CALL where Cython reads or sets an attribute and calls a method.
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
enum { IS_FIELD, IS_VALUE, IS_DESCRIPTOR, IS_METHOD, IS_ALONE, IS_WITH_ONE, IS_WITH_MANY, FIRST_OFFSET };

/* Small: each call passes some hundreds of them. */
typedef struct {
    unsigned int version; /* of the type; 0, which no type has: nothing is known */
    unsigned short learned;
    unsigned short offset; /* of a slot, or one of the above */
    union {
        PyGetSetDef *field; /* of a compiled class */
        PyObject *of_type; /* it lives as long as this version of the type */
        PyMethodDef *method; /* written in C, of a type that is */
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

static __attribute__((noinline)) void site_learn_write(Site *site, PyTypeObject *type, PyObject *name) {
    if (type->tp_setattro != PyObject_GenericSetAttr) return;
    PyObject *found = site_lookup(site, type, name);
    if (found == NULL || !site_learn_field(site, type, found)) return;
    if (site->offset == IS_FIELD ? site->found.field->set == NULL : ((PyMemberDescrObject *)found)->d_member->flags & READONLY) return;
    site->version = type->tp_version_tag;
}

/* 0; -1 with an exception. */
static inline int site_write(Site *site, PyObject *object, PyObject *name, PyObject *value) {
    unsigned int version = Py_TYPE(object)->tp_version_tag;
    if (version != 0 && version == site->version) {
        if (site->offset == IS_FIELD) return site->found.field->set(object, value, site->found.field->closure);
        PyObject **place = (PyObject **)((char *)object + site->offset), *old = *place;
        *place = Py_NewRef(value);
        Py_XDECREF(old);
        return 0;
    }
    site_learn_write(site, Py_TYPE(object), name);
    return PyObject_SetAttr(object, name, value);
}

#define SITE_WRITE(object, name, value)                                                            \
    ({                                                                                             \
        static Site site;                                                                          \
        site_write(&site, (PyObject *)(object), (PyObject *)(name), (PyObject *)(value));          \
    })

static __attribute__((noinline)) void site_learn_call(Site *site, PyTypeObject *type, PyObject *name) {
    PyObject *found = site_lookup(site, type, name);
    if (found == NULL) return;
    if (!site_learn_field(site, type, found)) {
        if (!PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_METHOD_DESCRIPTOR) || has_dict(type)) return;
        site->found.of_type = found;
        site->offset = IS_METHOD;
        if (Py_IS_TYPE(found, &PyMethodDescr_Type) && PyType_IsSubtype(type, ((PyDescrObject *)found)->d_type)) {
            PyMethodDef *method = ((PyMethodDescrObject *)found)->d_method;
            int taken = method->ml_flags & ~(METH_COEXIST | METH_STATIC | METH_CLASS);
            if (taken == METH_NOARGS) site->offset = IS_ALONE;
            if (taken == METH_O) site->offset = IS_WITH_ONE;
            if (taken == METH_FASTCALL) site->offset = IS_WITH_MANY;
            if (site->offset != IS_METHOD) site->found.method = method;
        }
    }
    site->version = type->tp_version_tag;
}

/* A method that is written in C, called as its descriptor would; one that does not take so many arguments, by its name. */
static inline PyObject *site_call_c(Site *site, PyObject *name, PyObject *const *args, size_t count) {
    PyMethodDef *method = site->found.method;
    Py_ssize_t rest = PyVectorcall_NARGS(count) - 1;
    if (site->offset == IS_WITH_MANY)
        return ((PyObject *(*)(PyObject *, PyObject *const *, Py_ssize_t))(void (*)(void))method->ml_meth)(
            args[0], args + 1, rest);
    if (site->offset == IS_ALONE && rest == 0) return method->ml_meth(args[0], NULL);
    if (site->offset == IS_WITH_ONE && rest == 1) return method->ml_meth(args[0], args[1]);
    return PyObject_VectorcallMethod(name, args, count, NULL);
}

static inline PyObject *site_call(Site *site, PyObject *name, PyObject *const *args, size_t count) {
    unsigned int version = Py_TYPE(args[0])->tp_version_tag;
    if (version != 0 && version == site->version) {
        if (site->offset == IS_METHOD)
            return PyObject_Vectorcall(site->found.of_type, args, count & ~PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (site->offset > IS_METHOD && site->offset < FIRST_OFFSET) return site_call_c(site, name, args, count);
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
#define SITE_WRITE(object, name, value) __Pyx_PyObject_SetAttrStr(object, name, value)
#define SITE_CALL(name, args, count) __Pyx_PyObject_FastCallMethod(name, args, count)
#endif

#endif
