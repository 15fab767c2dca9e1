/* The usual log() in one call of C: check, encode, frame, push.
 *
 * It takes the usual case: a plain dict of names and of floats, integers, bools, strings and None. It declines
 * everything else, and run.py then does the same in Python. The bytes that it pushes are those of
 * frame(encode(Metrics(time, step, data, stage))); tests compare them.
 *
 * No Python code runs between the first read of the dict and the push: every type is checked to be the exact one, and
 * nothing here gives up the GIL. So no thread and no signal handler can change the dict on the way.
 *
 * Stable ABI of Python 3.10: one build serves all later versions. SOURCE is a checksum of this text: the build gives it,
 * and accelerator.py takes a library of no other text.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MOST_BYTES 8192 /* of a frame; a longer one is declined: its cost lies in the encoding, not in the call */
#define FRAME_HEADER_BYTES 8
#define LARGEST_HEAD_BYTES 9 /* a number of 64 bits with its type; longer than the head of a string or of a map */
#define ADLER_BASE 65521
#define ADLER_PIECE_BYTES 5552 /* as many as can be summed in 32 bits before a remainder must be taken */

static unsigned char *
put_big_endian(unsigned char *out, uint64_t number, int bytes)
{
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
        *out++ = (unsigned char)(number >> shift);
    }
    return out;
}

static unsigned char *
put_tagged(unsigned char *out, int tag, uint64_t number, int bytes)
{
    *out++ = (unsigned char)tag;
    return put_big_endian(out, number, bytes);
}

static unsigned char *
put_float(unsigned char *out, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return put_tagged(out, 0xcb, bits, 8);
}

/* In the shortest form that MessagePack has for it, as msgspec does. */
static unsigned char *
put_integer(unsigned char *out, long long number)
{
    uint64_t bits = (uint64_t)number;
    if (number >= -32 && number < 128) {
        *out++ = (unsigned char)bits;
        return out;
    }
    if (number >= 0) {
        return number <= UINT8_MAX    ? put_tagged(out, 0xcc, bits, 1)
               : number <= UINT16_MAX ? put_tagged(out, 0xcd, bits, 2)
               : number <= UINT32_MAX ? put_tagged(out, 0xce, bits, 4)
                                      : put_tagged(out, 0xcf, bits, 8);
    }
    return number >= INT8_MIN    ? put_tagged(out, 0xd0, bits, 1)
           : number >= INT16_MIN ? put_tagged(out, 0xd1, bits, 2)
           : number >= INT32_MIN ? put_tagged(out, 0xd2, bits, 4)
                                 : put_tagged(out, 0xd3, bits, 8);
}

/* NULL if there is no room for it. */
static unsigned char *
put_string(unsigned char *out, const unsigned char *end, const char *text, Py_ssize_t length)
{
    if (length > end - out - LARGEST_HEAD_BYTES) {
        return NULL;
    }
    if (length < 32) {
        *out++ = (unsigned char)(0xa0 | length);
    }
    else {
        out = length <= UINT8_MAX ? put_tagged(out, 0xd9, (uint64_t)length, 1)
                                  : put_tagged(out, 0xda, (uint64_t)length, 2);
    }
    memcpy(out, text, (size_t)length);
    return out + length;
}

/* The text of a string, which Python keeps; NULL without an error if it has a lone surrogate. */
static const char *
utf8_of(PyObject *text, Py_ssize_t *length)
{
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, length);
    if (utf8 == NULL) {
        PyErr_Clear();
    }
    return utf8;
}

static unsigned char *
put_text(unsigned char *out, const unsigned char *end, PyObject *text)
{
    Py_ssize_t length;
    const char *utf8 = utf8_of(text, &length);
    return utf8 == NULL ? NULL : put_string(out, end, utf8, length);
}

/* What a record has of its own under these names; run.py renames such a metric, or takes it as the stage. */
static int
is_reserved(const char *name, Py_ssize_t length)
{
    switch (length) {
    case 0:
        return 1; /* no name at all, which is refused */
    case 4:
        return memcmp(name, "time", 4) == 0 || memcmp(name, "step", 4) == 0;
    case 5:
        return memcmp(name, "stage", 5) == 0;
    case 11:
        return memcmp(name, "global_step", 11) == 0;
    default:
        return 0;
    }
}

static unsigned char *
put_name(unsigned char *out, const unsigned char *end, PyObject *name)
{
    Py_ssize_t length;
    const char *utf8 = PyUnicode_CheckExact(name) ? utf8_of(name, &length) : NULL;
    return utf8 == NULL || is_reserved(utf8, length) ? NULL : put_string(out, end, utf8, length);
}

static unsigned char *
put_value(unsigned char *out, const unsigned char *end, PyObject *value)
{
    if (end - out < LARGEST_HEAD_BYTES) {
        return NULL;
    }
    if (PyFloat_CheckExact(value)) {
        return put_float(out, PyFloat_AsDouble(value));
    }
    if (PyLong_CheckExact(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow ? NULL : put_integer(out, number);
    }
    if (value == Py_None) {
        *out++ = 0xc0;
        return out;
    }
    if (value == Py_False || value == Py_True) {
        *out++ = value == Py_True ? 0xc3 : 0xc2;
        return out;
    }
    return PyUnicode_CheckExact(value) ? put_text(out, end, value) : NULL;
}

static unsigned char *
put_metrics(unsigned char *out, const unsigned char *end, PyObject *data)
{
    Py_ssize_t metrics = PyDict_Size(data), position = 0;
    PyObject *name, *value;
    if (metrics == 0 || metrics > MOST_BYTES) {
        return NULL;
    }
    if (metrics < 16) {
        *out++ = (unsigned char)(0x80 | metrics);
    }
    else {
        out = put_tagged(out, 0xde, (uint64_t)metrics, 2);
    }
    while (PyDict_Next(data, &position, &name, &value)) {
        out = put_name(out, end, name);
        out = out == NULL ? NULL : put_value(out, end, value);
        if (out == NULL) {
            return NULL;
        }
    }
    return out;
}

/* The array ["m", time, step, data, stage]; NULL if any of it is not plain. */
static unsigned char *
put_record(unsigned char *out, const unsigned char *end, PyObject *time, PyObject *step, PyObject *data, PyObject *stage)
{
    *out++ = 0x95;
    *out++ = 0xa1;
    *out++ = 'm';
    out = put_float(out, PyFloat_AsDouble(time));
    out = put_value(out, end, step);
    out = out == NULL ? NULL : put_metrics(out, end, data);
    return out == NULL ? NULL : put_value(out, end, stage);
}

static uint32_t
adler32(const unsigned char *bytes, Py_ssize_t length)
{
    uint32_t low = 1, high = 0;
    while (length > 0) {
        Py_ssize_t piece = length < ADLER_PIECE_BYTES ? length : ADLER_PIECE_BYTES;
        for (length -= piece; piece > 0; piece--) {
            low += *bytes++;
            high += low;
        }
        low %= ADLER_BASE;
        high %= ADLER_BASE;
    }
    return high << 16 | low;
}

static void
put_little_endian(unsigned char *out, uint32_t number)
{
    for (int shift = 0; shift < 32; shift += 8) {
        *out++ = (unsigned char)(number >> shift);
    }
}

/* The frame of a record; NULL without an error if the record is not plain. */
static PyObject *
framed(PyObject *time, PyObject *step, PyObject *data, PyObject *stage)
{
    unsigned char frame[MOST_BYTES], *payload = frame + FRAME_HEADER_BYTES, *end;
    if (!PyFloat_CheckExact(time) || !PyLong_CheckExact(step) || !PyDict_CheckExact(data) ||
        !(stage == Py_None || PyUnicode_CheckExact(stage))) {
        return NULL;
    }
    end = put_record(payload, frame + MOST_BYTES, time, step, data, stage);
    if (end == NULL) {
        return NULL;
    }
    put_little_endian(frame, (uint32_t)(end - payload));
    put_little_endian(frame + 4, adler32(payload, end - payload));
    return PyBytes_FromStringAndSize((const char *)frame, end - frame);
}

/* Whether the run has ended, or the time has come to see whether the writer lives; -1 and an error if unknown. */
static int
is_check_due(double now, PyObject *closed, PyObject *checked_at, PyObject *next_check_at)
{
    long ended;
    PyObject *byte = PySequence_GetItem(closed, 0);
    if (byte == NULL) {
        return -1;
    }
    ended = PyLong_AsLong(byte);
    Py_DECREF(byte);
    if (ended == -1 && PyErr_Occurred()) {
        return -1;
    }
    return ended || !(PyFloat_AsDouble(checked_at) <= now && now < PyFloat_AsDouble(next_check_at));
}

/* A new reference to None, True or False. Do not use Py_RETURN_NONE and the like: with the headers of 3.12 and later
 * they take no reference, because these objects never die there. But 3.10 and 3.11, where they can die, load this
 * library too. */
static PyObject *
referenced(PyObject *constant)
{
    Py_INCREF(constant);
    return constant;
}

PyDoc_STRVAR(push_metrics_doc,
    "push_metrics(time, step, data, stage, push, closed, checked_at, next_check_at, /)\n--\n\n"
    "Push one record of metrics.\n\n"
    "Returns:\n"
    "    None if it was pushed; True if it was pushed and a check is due; False if it was not pushed, for it is not\n"
    "    plain or the segment is full.");

static PyObject *
push_metrics(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t number)
{
    PyObject *frame, *pushed;
    int due;
    if (number != 8) {
        PyErr_SetString(PyExc_TypeError, "push_metrics() takes eight arguments");
        return NULL;
    }
    frame = framed(arguments[0], arguments[1], arguments[2], arguments[3]);
    if (frame == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        return referenced(Py_False);
    }
    pushed = PyObject_CallFunctionObjArgs(arguments[4], frame, NULL);
    Py_DECREF(frame);
    if (pushed == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return NULL;
        }
        PyErr_Clear();
        return referenced(Py_False);
    }
    Py_DECREF(pushed);
    /* Push first, check second: a record that was pushed before a check that found no end is stored. */
    due = is_check_due(PyFloat_AsDouble(arguments[0]), arguments[5], arguments[6], arguments[7]);
    if (due < 0) {
        return NULL;
    }
    if (due) {
        return referenced(Py_True);
    }
    return referenced(Py_None);
}

static PyObject *
source(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(arguments))
{
    return PyLong_FromUnsignedLong(SOURCE);
}

static PyMethodDef methods[] = {
    {"source", source, METH_NOARGS, "source()\n--\n\nThe checksum of the text that this was built from."},
    {"push_metrics", (PyCFunction)(void (*)(void))push_metrics, METH_FASTCALL, push_metrics_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "runicorn.queue._accelerator",
    .m_doc = "The usual log() in one call of C.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__accelerator(void)
{
    return PyModuleDef_Init(&definition);
}
