/* Rows of one transaction of test_decoding as lines of a plan: see `plain.rows`, which does the same in Python and says what is plain. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

enum { INSERT, UPDATE, DELETE };
enum { BARE, QUOTED, BITS, DATE };

#define VALUE_MAX (1 << 24)

typedef struct {
    char *data;
    size_t size, room;
    int failed;
} Output;

static int reserve(Output *out, size_t more)
{
    if (out->size + more <= out->room)
        return 1;
    size_t room = (out->size + more) * 2;
    char *data = PyMem_Realloc(out->data, room);
    if (data == NULL) {
        out->failed = 1;
        return 0;
    }
    out->data = data;
    out->room = room;
    return 1;
}

static int put(Output *out, const char *text, size_t size)
{
    if (!reserve(out, size))
        return 0;
    memcpy(out->data + out->size, text, size);
    out->size += size;
    return 1;
}

static int put_number(Output *out, long long number)
{
    char digits[24];
    return put(out, digits, (size_t)snprintf(digits, sizeof digits, "%lld", number));
}

/* Text as JSON; `doubled`: each quote in it stands twice. */
static int put_text(Output *out, const unsigned char *text, size_t size, int doubled)
{
    static const char hex[] = "0123456789abcdef";
    if (!reserve(out, size * 6 + 2))
        return 0;
    char *to = out->data + out->size;
    *to++ = '"';
    for (size_t at = 0; at < size; at++) {
        unsigned char byte = text[at];
        if (byte == '\'' && doubled)
            at++;
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            *to++ = (char)byte;
            continue;
        }
        *to++ = '\\';
        switch (byte) {
        case '"': case '\\': *to++ = (char)byte; break;
        case '\b': *to++ = 'b'; break;
        case '\t': *to++ = 't'; break;
        case '\n': *to++ = 'n'; break;
        case '\f': *to++ = 'f'; break;
        case '\r': *to++ = 'r'; break;
        default:
            memcpy(to, "u00", 3);
            to[3] = hex[byte >> 4];
            to[4] = hex[byte & 15];
            to += 5;
        }
    }
    *to++ = '"';
    out->size = (size_t)(to - out->data);
    return 1;
}

static int begins(const char *at, const char *end, const char *word, size_t size)
{
    return (size_t)(end - at) >= size && memcmp(at, word, size) == 0;
}

static int is_null(const char *at, const char *end)
{
    return begins(at, end, "null", 4) && (at + 4 == end || at[4] == ' ');
}

/* A value; returns what follows it, NULL where it is not plain. */
static const char *value(Output *out, const char *at, const char *end, long kind, int old)
{
    if (is_null(at, end))
        return !old && put(out, "null", 4) ? at + 4 : NULL;
    if (kind == BARE) {
        const char *start = at;
        if (begins(at, end, "null", 4) || begins(at, end, "unchanged-toast-datum", 21))
            return NULL;
        while (at < end && *at != ' ') {
            if (*at == '\'' || *at == '\r')
                return NULL;
            at++;
        }
        return at > start && put_text(out, (const unsigned char *)start, (size_t)(at - start), 0) ? at : NULL;
    }
    if (kind == BITS && (at >= end || *at++ != 'B'))
        return NULL;
    if (at >= end || *at++ != '\'')
        return NULL;
    const char *start = at;
    int doubled = 0;
    for (;;) {
        at = memchr(at, '\'', (size_t)(end - at));
        if (at == NULL)
            return NULL;
        if (at + 1 == end || at[1] != '\'')
            break;
        doubled = 1;
        at += 2;
    }
    size_t size = (size_t)(at - start);
    if (size > VALUE_MAX)
        return NULL;
    if (kind == BITS)
        for (size_t bit = 0; bit < size; bit++)
            if (start[bit] != '0' && start[bit] != '1')
                return NULL;
    if (kind == DATE && (doubled || size < 5 || start[4] != '-' || strspn(start, "0123456789") != 4))
        return NULL;
    return put_text(out, (const unsigned char *)start, size, doubled) ? at + 1 : NULL;
}

/* The columns of a row; `old`: those that are missing are NULL where `nulls` says so. */
static const char *columns(Output *out, const char *at, const char *end, PyObject *spec, int old, int nulls)
{
    Py_ssize_t count = PyTuple_GET_SIZE(spec);
    put(out, "[", 1);
    for (Py_ssize_t number = 0; number < count; number++) {
        PyObject *column = PyTuple_GET_ITEM(spec, number), *header = PyTuple_GET_ITEM(column, 0);
        size_t size = (size_t)PyBytes_GET_SIZE(header);
        if (number)
            put(out, ",", 1);
        if (begins(at, end, PyBytes_AS_STRING(header), size)) {
            at = value(out, at + size, end, PyLong_AsLong(PyTuple_GET_ITEM(column, 1)), old);
            if (at == NULL)
                return NULL;
        }
        else if (!old || !nulls)
            return NULL;
        else
            put(out, "null", 4);
    }
    put(out, "]", 1);
    return at;
}

/* The rows of a line. */
static int rows(Output *out, const char *at, const char *end, long kind, int nulls, PyObject *spec)
{
    put(out, "[[", 2);
    if (kind == INSERT)
        put(out, "null", 4);
    else {
        if (kind == UPDATE) {
            if (!begins(at, end, " old-key:", 9))
                return 0;
            at += 9;
        }
        if ((at = columns(out, at, end, spec, 1, nulls)) == NULL)
            return 0;
        if (kind == UPDATE) {
            if (!begins(at, end, " new-tuple:", 11))
                return 0;
            at += 11;
        }
    }
    put(out, ",", 1);
    if (kind == DELETE)
        put(out, "null", 4);
    else if ((at = columns(out, at, end, spec, 0, 0)) == NULL)
        return 0;
    return at == end && put(out, "]]", 2);
}

static int is_utf8(const char *data, Py_ssize_t size)
{
    PyObject *text = PyUnicode_DecodeUTF8(data, size, "strict");
    if (text == NULL)
        PyErr_Clear();
    Py_XDECREF(text);
    return text != NULL;
}

/* rows(data, at, base, specs, place, transaction, limit) -> (after, lines, slots), or None where a line is not plain. */
static PyObject *plain_rows(PyObject *self, PyObject *arguments)
{
    PyObject *buffer, *specs, *place;
    Py_ssize_t first;
    long long base, transaction, limit;
    if (!PyArg_ParseTuple(arguments, "SnLO!SLL", &buffer, &first, &base, &PyDict_Type, &specs, &place, &transaction, &limit))
        return NULL;
    const char *data = PyBytes_AS_STRING(buffer), *stop = data + PyBytes_GET_SIZE(buffer), *at = data + first;
    Output out = {NULL, 0, 0, 0};
    PyObject *slots = PyList_New(0), *spec = NULL, *result = NULL;
    const char *head = NULL;
    size_t head_size = 0;
    int plain = slots != NULL && first >= 0 && at <= stop;
    while (plain && begins(at, stop, "table ", 6)) {
        const char *end = memchr(at, '\n', (size_t)(stop - at));
        if (end == NULL || limit-- == 0) {
            plain = 0;
            break;
        }
        if (head == NULL || !begins(at, end, head, head_size)) {
            const char *colon = memchr(at + 6, ':', (size_t)(end - at - 6));
            head = at;
            head_size = colon == NULL || colon + 9 > end ? 0 : (size_t)(colon - at) + 9;
            PyObject *key = PyBytes_FromStringAndSize(head, (Py_ssize_t)head_size);
            spec = key == NULL ? NULL : PyDict_GetItem(specs, key);
            Py_XDECREF(key);
            if (spec == NULL) {
                plain = 0;
                break;
            }
        }
        put(&out, "{\"at\":", 6);
        put(&out, PyBytes_AS_STRING(place), (size_t)PyBytes_GET_SIZE(place));
        put_number(&out, base + (end - data) + 1);
        put(&out, "\",\"in\":", 7);
        put_number(&out, transaction);
        put(&out, ",\"of\":", 6);
        put_number(&out, PyLong_AsLongLong(PyTuple_GET_ITEM(spec, 2)));
        put(&out, ",\"rows\":", 8);
        plain = rows(&out, at + head_size, end, PyLong_AsLong(PyTuple_GET_ITEM(spec, 0)), PyLong_AsLong(PyTuple_GET_ITEM(spec, 1)) != 0,
                     PyTuple_GET_ITEM(spec, 3));
        put(&out, "}\n", 2);
        if (plain && PyList_Append(slots, PyTuple_GET_ITEM(spec, 4)) < 0)
            plain = 0;
        at = end + 1;
    }
    if (out.failed)
        PyErr_NoMemory();
    else if (!PyErr_Occurred()) {
        if (plain && is_utf8(data + first, at - data - first))
            result = Py_BuildValue("ny#O", (Py_ssize_t)(at - data), out.data == NULL ? "" : out.data, (Py_ssize_t)out.size, slots);
        else
            result = Py_NewRef(Py_None);
    }
    PyMem_Free(out.data);
    Py_XDECREF(slots);
    return result;
}

/* skim(data, at, end) -> (rows, others, first commit, last line), or None where a line is no record by itself or needs a closer look. */
static PyObject *plain_skim(PyObject *self, PyObject *arguments)
{
    PyObject *buffer;
    Py_ssize_t first, last, tables = 0, others = 0;
    if (!PyArg_ParseTuple(arguments, "Snn", &buffer, &first, &last))
        return NULL;
    const char *data = PyBytes_AS_STRING(buffer);
    if (first < 0 || last > PyBytes_GET_SIZE(buffer) || first >= last)
        Py_RETURN_NONE;
    const char *at = data + first, *stop = data + last, *second = NULL, *second_end = NULL, *other = NULL, *other_end = NULL;
    if (memchr(at, '"', (size_t)(stop - at)) != NULL)
        Py_RETURN_NONE;
    while (at < stop) {
        const char *end = memchr(at, '\n', (size_t)(stop - at));
        if (end == NULL)
            Py_RETURN_NONE;
        int quotes = 0;
        for (const char *quote = at; (quote = memchr(quote, '\'', (size_t)(end - quote))) != NULL; quote++)
            quotes++;
        if (quotes & 1)
            Py_RETURN_NONE;
        if (begins(at, end, "table ", 6))
            tables++;
        else if ((begins(at, end, "BEGIN", 5) || begins(at, end, "COMMIT", 6)) && !begins(at, end, "COMMIT PREPARED", 15)) {
            others++;
            other = at;
            other_end = end;
            if (others == 2) {
                second = at;
                second_end = end;
            }
        }
        else
            Py_RETURN_NONE;
        at = end + 1;
    }
    if (other == NULL)
        Py_RETURN_NONE;
    return Py_BuildValue("nny#y#", tables, others, second == NULL ? "" : second, second == NULL ? 0 : (Py_ssize_t)(second_end - second), other,
                         (Py_ssize_t)(other_end - other));
}

static PyMethodDef METHODS[] = {
    {"skim", plain_skim, METH_VARARGS, "Return how many rows and other records there are, and the first and last commit."},
    {"rows", plain_rows, METH_VARARGS, "Return where the rows of a transaction end, their lines, and the slot of each; None where one is not plain."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_plain", "Rows of test_decoding as lines of a plan.", -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__plain(void)
{
    return PyModule_Create(&MODULE);
}
