/* Row images and event headers of a binary log, compiled: what `rows`, `part` and `binlog` do, for the many rows and events of a log.

Law: the extension is only faster, never different. Every value has the type and the content that the generated code of `rows`
gives it, every frame those of `binlog.frames`, JSON the bytes that `part` would write. Whatever is not plain (rows that end early,
a fraction of 61 hundredths, a year of five digits, a wrong checksum) is not judged here: `rows` and `json_rows` raise ValueError,
`frames` stops before it, and the Python code reads it again and says what is wrong. No byte at or after `end` is ever looked at:
`take` is the one way forward. No I/O, no names of tables, no state but the last text of a temporal column.

    _native.c         readers of a table layout, rows and images as objects, the module
    _native_values.c  the values of the table below as objects
    _native_json.c    the same values and their rows as JSON
    _native_frames.c  checksums, event headers and their count
    _native_plain.c   whole transactions as lines of a plan

    name       a            b            object    bytes of a value -> value (little-endian unless said otherwise)
    signed     width        -            -         integer of 1 to 8 bytes
    unsigned   width        -            -         the same; ENUM, SET
    big        width        -            -         big-endian, unsigned; BIT
    float      -            -            function  4 bytes; function(float): its digits in JSON
    double     -            -            function  8 bytes; likewise
    year       -            -            -         1 byte, years since 1900, 0 is 0
    date       -            -            -         3 bytes: text
    datetime   digits       -            -         5 bytes and a fraction, big-endian: text (formats: `values`)
    timestamp  digits       -            -         4 bytes and a fraction, big-endian: text, in UTC
    time       digits       -            -         3 bytes and a fraction, big-endian: text
    decimal    precision    scale        -         groups of nine digits, big-endian: text
    bytes      length       fill         -         a length of that many bytes, then bytes; filled with zeros up to `fill`
    utf8       length       BMP only     -         the same with text; bytes where they are not UTF-8, or above U+FFFF
    ascii      length       -            function  the same with text; function(bytes) where a byte is above 127
    sized      length       -            function  the same: function(bytes)
    fixed      width        -            function  function(bytes)
    absent     -            -            anything  no bytes and no bit: not in the image; the object itself */

#include "_native.h"

typedef struct {
    PyTypeObject *reader_type;
} State;

PyTypeObject *reader_type_of(PyObject *module)
{
    return ((State *)PyModule_GetState(module))->reader_type;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *given;
    static char *names[] = {"columns", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!", names, &PyList_Type, &given))
        return NULL;
    PyObject *columns = PyList_AsTuple(given); /* ours: nobody changes it */
    if (columns == NULL)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(columns), present = 0;
    Reader *reader = (Reader *)type->tp_alloc(type, count); /* all zeros */
    for (Py_ssize_t i = 0; reader != NULL && i < count; i++) {
        if (set_column(&reader->columns[i], PyTuple_GET_ITEM(columns, i)) < 0)
            Py_CLEAR(reader);
        else
            present += reader->columns[i].decode != NULL;
    }
    Py_DECREF(columns);
    if (reader != NULL && present == 0) { /* rows of no bytes would never end */
        Py_CLEAR(reader);
        odd("an image without columns");
    }
    if (reader != NULL)
        reader->bitmap = (present + 7) / 8;
    return (PyObject *)reader;
}

static int reader_traverse(PyObject *self, visitproc visit, void *arg)
{
    Reader *reader = (Reader *)self;
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++)
        Py_VISIT(reader->columns[i].object);
    return 0;
}

static void reader_dealloc(PyObject *self)
{
    Reader *reader = (Reader *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        Py_XDECREF(reader->columns[i].object);
        Py_XDECREF(reader->columns[i].text);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, "Reader(columns): how the images of one table layout are read; columns: list of (name, a, b, object)."},
    {Py_tp_new, reader_new},
    {Py_tp_traverse, reader_traverse},
    {Py_tp_dealloc, reader_dealloc},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "dblog_tasks.mysql._native.Reader",
    .basicsize = sizeof(Reader),
    .itemsize = sizeof(Column),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reader_slots,
};

/* ---- rows ---- */

/* A tuple of values; the cyclic collector is not told of it unless a value is its business: millions would keep it busy. */
static PyObject *read_image(Reader *reader, Span *span)
{
    const uint8_t *nulls = take(span, (size_t)reader->bitmap);
    PyObject *row = nulls == NULL ? NULL : PyTuple_New(Py_SIZE(reader));
    if (row == NULL)
        return NULL;
    PyObject_GC_UnTrack(row);
    int tracked = 0;
    Py_ssize_t bit = 0;
    for (Py_ssize_t i = 0; i < Py_SIZE(reader); i++) {
        Column *column = &reader->columns[i];
        PyObject *value;
        if (column->decode == NULL)
            value = Py_NewRef(column->object);
        else if (nulls[bit >> 3] >> (bit & 7) & 1)
            value = Py_NewRef(Py_None);
        else
            value = column->decode(column, span);
        if (value == NULL) {
            Py_DECREF(row);
            return NULL;
        }
        bit += column->decode != NULL;
        tracked |= column->object != Py_None && PyObject_IS_GC(value);
        PyTuple_SET_ITEM(row, i, value);
    }
    if (tracked)
        PyObject_GC_Track(row);
    return row;
}

/* An image when there is a reader for it, else None. */
static PyObject *image_or_none(PyObject *reader, Span *span)
{
    return reader == Py_None ? Py_NewRef(Py_None) : read_image((Reader *)reader, span);
}

static PyObject *read_pair(PyObject *before, PyObject *after, Span *span)
{
    PyObject *pair = NULL, *first = image_or_none(before, span);
    PyObject *second = first == NULL ? NULL : image_or_none(after, span);
    if (second != NULL && (pair = PyTuple_New(2)) != NULL) {
        PyTuple_SET_ITEM(pair, 0, first);
        PyTuple_SET_ITEM(pair, 1, second);
        if (!PyObject_GC_IsTracked(first) && !PyObject_GC_IsTracked(second))
            PyObject_GC_UnTrack(pair);
        return pair;
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    return NULL;
}

static PyObject *read_rows(PyObject *before, PyObject *after, Span *span)
{
    PyObject *rows = PyList_New(0);
    while (rows != NULL && span->at < span->end) {
        PyObject *pair = read_pair(before, after, span);
        if (pair == NULL || PyList_Append(rows, pair) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(pair);
    }
    return rows;
}

/* The rows between two offsets, by one of the two ways to give them; with the ways' common arguments. */
typedef struct {
    PyObject *before, *after;
    Py_buffer data;
    Span span;
} Given;

/* Look at what was given; -1 with an error. The data is then to be released. */
static int open_rows(PyObject *module, Given *given, Py_ssize_t at, Py_ssize_t end)
{
    PyTypeObject *type = reader_type_of(module);
    if ((given->before != Py_None && !Py_IS_TYPE(given->before, type)) || (given->after != Py_None && !Py_IS_TYPE(given->after, type)))
        PyErr_SetString(PyExc_TypeError, "expected a Reader or None");
    else if (given->before == Py_None && given->after == Py_None)
        odd("neither an image before nor one after");
    else if (at < 0 || at > end || end > given->data.len)
        odd("rows outside of their data");
    else {
        given->span = (Span){(const uint8_t *)given->data.buf + at, (const uint8_t *)given->data.buf + end};
        return 0;
    }
    return -1;
}

PyDoc_STRVAR(rows_doc, "rows(before, after, data, at, end): the rows of an event, list of (image before, image after).\n\n"
                       "before, after: the Reader of the images, None where the operation has none. Raises ValueError.");

static PyObject *native_rows(PyObject *module, PyObject *args)
{
    Given given;
    Py_ssize_t at, end;
    if (!PyArg_ParseTuple(args, "OOy*nn", &given.before, &given.after, &given.data, &at, &end))
        return NULL;
    PyObject *rows = open_rows(module, &given, at, end) < 0 ? NULL : read_rows(given.before, given.after, &given.span);
    PyBuffer_Release(&given.data);
    return rows;
}

PyDoc_STRVAR(json_doc, "json_rows(before, after, alone, data, at, end): the same rows as JSON, and how many they are.\n\n"
                       "alone: a byte for each column, not 0 where bytes stand as base64 and nothing around it. Raises ValueError.");

static Reader *reader_or_null(PyObject *reader)
{
    return reader == Py_None ? NULL : (Reader *)reader;
}

static PyObject *native_json_rows(PyObject *module, PyObject *args)
{
    Given given;
    Py_ssize_t at, end, columns;
    const char *alone;
    PyObject *rows = NULL;
    if (!PyArg_ParseTuple(args, "OOy#y*nn", &given.before, &given.after, &alone, &columns, &given.data, &at, &end))
        return NULL;
    if (open_rows(module, &given, at, end) == 0) {
        Reader *before = reader_or_null(given.before), *after = reader_or_null(given.after);
        if ((before != NULL && Py_SIZE(before) != columns) || (after != NULL && Py_SIZE(after) != columns))
            odd("expected a byte for each column");
        else
            rows = json_rows(before, after, alone, &given.span);
    }
    PyBuffer_Release(&given.data);
    return rows;
}

PyDoc_STRVAR(image_doc, "image(reader, data, at): the image at `at` and where it ends. Raises ValueError.");

static PyObject *native_image(PyObject *module, PyObject *args)
{
    PyObject *reader, *row = NULL;
    Py_buffer data;
    Py_ssize_t at, end = 0;
    PyTypeObject *type = reader_type_of(module);
    if (!PyArg_ParseTuple(args, "O!y*n", type, &reader, &data, &at))
        return NULL;
    if (at < 0 || at > data.len)
        odd("an image outside of its data");
    else {
        Span span = {(const uint8_t *)data.buf + at, (const uint8_t *)data.buf + data.len};
        row = read_image((Reader *)reader, &span);
        end = span.at - (const uint8_t *)data.buf;
    }
    PyBuffer_Release(&data);
    return row == NULL ? NULL : Py_BuildValue("Nn", row, end);
}

/* ---- the module ---- */

static PyMethodDef methods[] = {
    {"rows", native_rows, METH_VARARGS, rows_doc},
    {"json_rows", native_json_rows, METH_VARARGS, json_doc},
    {"image", native_image, METH_VARARGS, image_doc},
    {"frames", native_frames, METH_VARARGS, frames_doc},
    {"plain", native_plain, METH_VARARGS, plain_doc},
    {"hops", native_hops, METH_VARARGS, hops_doc},
    {"crc32", native_crc32, METH_VARARGS, crc32_doc},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->reader_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    prepare_checksums();
    return state->reader_type == NULL ? -1 : PyModule_AddType(module, state->reader_type);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(((State *)PyModule_GetState(module))->reader_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    Py_CLEAR(((State *)PyModule_GetState(module))->reader_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "Row images and event headers of a binary log, compiled: see `native`.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
