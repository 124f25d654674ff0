/* Row images and event headers of a binary log, compiled: what `rows` and `binlog` do, for the many rows and events of a log.

Law: this file is only faster, never different. Every value has the type and the content that the generated code of `rows`
gives it, every frame those of `binlog.frames`. Whatever is not plain (rows that end early, a fraction of 61 hundredths, a year
of five digits, a wrong checksum) is not judged here: `rows` raises ValueError, `frames` stops before it, and the Python code
reads it again and says what is wrong. No byte at or after `end` is ever looked at: `take` is the one way forward. No I/O, no
names of tables, no state but the last text of a temporal column.

    name       a            b            object    bytes of a value -> value (little-endian unless said otherwise)
    signed     width        -            -         integer of 1 to 8 bytes
    unsigned   width        -            -         the same; ENUM, SET
    big        width        -            -         big-endian, unsigned; BIT
    float      -            -            -         4 bytes
    double     -            -            -         8 bytes
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

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *at, *end;
} Span;

typedef struct Column Column;
typedef PyObject *(*Decode)(Column *, Span *);

struct Column {
    Decode decode;
    Py_ssize_t a, b, size; /* size: bytes of a value of fixed width */
    PyObject *object;
    uint64_t seen; /* bytes of the last temporal, and its text: neighbours are often of one second */
    PyObject *text;
};

typedef struct {
    PyObject_VAR_HEAD
    Py_ssize_t bitmap; /* bytes of it */
    Column columns[];
} Reader;

typedef struct {
    PyTypeObject *reader_type;
} State;

/* ---- bytes ---- */

static PyObject *odd(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

/* The next `size` bytes, which are passed over; NULL with an error when there are fewer. */
static inline const uint8_t *take(Span *span, size_t size)
{
    const uint8_t *at = span->at;
    if ((size_t)(span->end - at) < size) {
        odd("a row ends early");
        return NULL;
    }
    span->at = at + size;
    return at;
}

static inline uint64_t little(const uint8_t *at, Py_ssize_t size)
{
    uint64_t number = 0;
    while (size-- > 0)
        number = number << 8 | at[size];
    return number;
}

static inline uint64_t big(const uint8_t *at, Py_ssize_t size)
{
    uint64_t number = 0;
    for (Py_ssize_t i = 0; i < size; i++)
        number = number << 8 | at[i];
    return number;
}

/* The bytes behind a length; NULL with an error. */
static inline const uint8_t *take_sized(Column *column, Span *span, size_t *size)
{
    const uint8_t *at = take(span, (size_t)column->a);
    if (at == NULL)
        return NULL;
    *size = (size_t)little(at, column->a);
    return take(span, *size);
}

/* ---- numbers ---- */

static PyObject *decode_signed(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->a);
    if (at == NULL)
        return NULL;
    int unused = (int)(64 - 8 * column->a);
    return PyLong_FromLongLong((int64_t)(little(at, column->a) << unused) >> unused);
}

static PyObject *decode_unsigned(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->a);
    return at == NULL ? NULL : PyLong_FromUnsignedLongLong(little(at, column->a));
}

static PyObject *decode_big(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->a);
    return at == NULL ? NULL : PyLong_FromUnsignedLongLong(big(at, column->a));
}

static PyObject *decode_float(Column *column, Span *span)
{
    const uint8_t *at = take(span, 4);
    if (at == NULL)
        return NULL;
    double number = PyFloat_Unpack4((const char *)at, 1);
    return number == -1.0 && PyErr_Occurred() ? NULL : PyFloat_FromDouble(number);
}

static PyObject *decode_double(Column *column, Span *span)
{
    const uint8_t *at = take(span, 8);
    if (at == NULL)
        return NULL;
    double number = PyFloat_Unpack8((const char *)at, 1);
    return number == -1.0 && PyErr_Occurred() ? NULL : PyFloat_FromDouble(number);
}

static PyObject *decode_year(Column *column, Span *span)
{
    const uint8_t *at = take(span, 1);
    return at == NULL ? NULL : PyLong_FromLong(*at ? 1900 + *at : 0);
}

/* ---- temporals and decimals: digits ---- */

static PyObject *ascii_text(const char *from, Py_ssize_t size)
{
    PyObject *text = PyUnicode_New(size, 127);
    if (text != NULL)
        memcpy(PyUnicode_1BYTE_DATA(text), from, (size_t)size);
    return text;
}

static const uint32_t TENS[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};

/* Write a number as that many digits; return where they end. */
static inline char *put(char *out, uint32_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--, number /= 10)
        out[i] = (char)('0' + number % 10);
    return out + digits;
}

static inline char *put_day(char *out, uint32_t year, uint32_t month, uint32_t day)
{
    out = put(out, year, 4);
    *out++ = '-';
    out = put(out, month, 2);
    *out++ = '-';
    return put(out, day, 2);
}

static inline char *put_clock(char *out, uint32_t hour, uint32_t minute, uint32_t second)
{
    out = put(out, hour, hour < 100 ? 2 : hour < 1000 ? 3 : 4);
    *out++ = ':';
    out = put(out, minute, 2);
    *out++ = ':';
    return put(out, second, 2);
}

/* Write a stored fraction, point first; NULL when it is too large for its digits. */
static inline char *put_fraction(char *out, uint32_t stored, int digits)
{
    if (digits == 0)
        return out;
    uint32_t fraction = digits & 1 ? stored / 10 : stored;
    if (fraction >= TENS[digits])
        return NULL;
    *out++ = '.';
    return put(out, fraction, digits);
}

/* The text between `text` and `end`, remembered under the bytes it came from; `end` NULL: these are not of a temporal. */
static PyObject *remembered(Column *column, uint64_t stored, const char *text, const char *end)
{
    if (end == NULL)
        return odd("bytes that no temporal has");
    PyObject *made = ascii_text(text, end - text), *last = column->text;
    if (made == NULL)
        return NULL;
    column->seen = stored;
    column->text = Py_NewRef(made);
    Py_XDECREF(last);
    return made;
}

static PyObject *decode_date(Column *column, Span *span)
{
    const uint8_t *at = take(span, 3);
    if (at == NULL)
        return NULL;
    uint64_t stored = little(at, 3);
    if (column->text != NULL && column->seen == stored)
        return Py_NewRef(column->text);
    char text[10];
    uint32_t year = (uint32_t)stored >> 9;
    return remembered(column, stored, text, year > 9999 ? NULL : put_day(text, year, stored >> 5 & 15, stored & 31));
}

static PyObject *decode_datetime(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->size);
    if (at == NULL)
        return NULL;
    uint64_t stored = big(at, column->size);
    if (column->text != NULL && column->seen == stored)
        return Py_NewRef(column->text);
    uint64_t packed = big(at, 5) ^ 1ULL << 39;
    uint32_t months = (uint32_t)(packed >> 22);
    if (months / 13 > 9999) /* a first bit of 0 too: before the year 0 */
        return odd("bytes that no temporal has");
    char text[28], *end = put_day(text, months / 13, months % 13, packed >> 17 & 31);
    *end++ = ' ';
    end = put_clock(end, packed >> 12 & 31, packed >> 6 & 63, packed & 63);
    return remembered(column, stored, text, put_fraction(end, (uint32_t)big(at + 5, column->size - 5), (int)column->a));
}

/* Write a day of 1970 or later; the years of this calendar begin in March, so that a leap day is the last of its year. */
static inline char *put_epoch_day(char *out, uint32_t days)
{
    uint32_t from = days + 719468; /* days since 1 March of the year 0 */
    uint32_t century = from / 146097, rest = from % 146097;
    uint32_t years = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    uint32_t day = rest - (365 * years + years / 4 - years / 100);
    uint32_t month = (5 * day + 2) / 153;
    uint32_t shown = month < 10 ? month + 3 : month - 9;
    return put_day(out, century * 400 + years + (shown <= 2), shown, day - (153 * month + 2) / 5 + 1);
}

static PyObject *decode_timestamp(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->size);
    if (at == NULL)
        return NULL;
    uint64_t stored = big(at, column->size);
    if (column->text != NULL && column->seen == stored)
        return Py_NewRef(column->text);
    uint32_t seconds = (uint32_t)big(at, 4), clock = seconds % 86400;
    char text[28], *end = stored ? put_epoch_day(text, seconds / 86400) : put_day(text, 0, 0, 0);
    *end++ = ' ';
    end = put_clock(end, clock / 3600, clock / 60 % 60, clock % 60);
    return remembered(column, stored, text, put_fraction(end, (uint32_t)big(at + 4, column->size - 4), (int)column->a));
}

static PyObject *decode_time(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->size);
    if (at == NULL)
        return NULL;
    uint64_t stored = big(at, column->size);
    if (column->text != NULL && column->seen == stored)
        return Py_NewRef(column->text);
    int bits = (int)(8 * (column->size - 3));
    int64_t value = (int64_t)stored - ((int64_t)0x800000 << bits);
    uint64_t packed = (uint64_t)(value < 0 ? -value : value);
    uint32_t whole = (uint32_t)(packed >> bits);
    char text[20], *end = text;
    if (value < 0)
        *end++ = '-';
    end = put_clock(end, whole >> 12 & 0x3FF, whole >> 6 & 63, whole & 63);
    return remembered(column, stored, text, put_fraction(end, (uint32_t)(packed & ((1ULL << bits) - 1)), (int)column->a));
}

static const uint8_t DIGIT_BYTES[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};

static Py_ssize_t decimal_size(Py_ssize_t precision, Py_ssize_t scale)
{
    Py_ssize_t whole = precision - scale;
    return whole / 9 * 4 + DIGIT_BYTES[whole % 9] + scale / 9 * 4 + DIGIT_BYTES[scale % 9];
}

typedef struct {
    const uint8_t *at;
    char *out;
    uint32_t flip; /* all ones for a negative number, whose bytes are inverted */
    uint32_t top;  /* of the first byte: its inverted first bit */
    uint32_t any;  /* not 0 when a digit was not */
} Digits;

/* Write one group of digits; -1 when it holds a number of more digits. */
static inline int put_group(Digits *digits, int count)
{
    int size = DIGIT_BYTES[count];
    if (size == 0)
        return 0;
    uint32_t group = (uint32_t)big(digits->at, size) ^ digits->top << 8 * (size - 1);
    group = (group ^ digits->flip) & (uint32_t)((1ULL << 8 * size) - 1);
    digits->top = 0;
    if (group >= TENS[count])
        return -1;
    digits->any |= group;
    digits->at += size;
    digits->out = put(digits->out, group, count);
    return 0;
}

static PyObject *decode_decimal(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->size);
    if (at == NULL)
        return NULL;
    int whole = (int)(column->a - column->b), scale = (int)column->b, wrong;
    char text[72]; /* a sign, a zero, 65 digits and a point */
    Digits digits = {at, text + 2, *at & 0x80 ? 0 : UINT32_MAX, 0x80, 0};
    wrong = put_group(&digits, whole % 9);
    for (int i = 0; i < whole / 9; i++)
        wrong |= put_group(&digits, 9);
    char *start = text + 1, *point = digits.out;
    if (scale)
        *digits.out++ = '.';
    for (int i = 0; i < scale / 9; i++)
        wrong |= put_group(&digits, 9);
    wrong |= put_group(&digits, scale % 9);
    if (wrong)
        return odd("bytes that no decimal has");
    *start = '0';
    while (start < point - 1 && *start == '0')
        start++;
    if (digits.flip && digits.any)
        *--start = '-';
    return ascii_text(start, digits.out - start);
}

/* ---- text, bytes, and what Python decodes ---- */

static PyObject *decode_bytes(Column *column, Span *span)
{
    size_t size;
    const uint8_t *at = take_sized(column, span, &size);
    if (at == NULL)
        return NULL;
    if (size >= (size_t)column->b)
        return PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size);
    PyObject *value = PyBytes_FromStringAndSize(NULL, column->b);
    if (value != NULL) {
        memcpy(PyBytes_AS_STRING(value), at, size);
        memset(PyBytes_AS_STRING(value) + size, 0, (size_t)column->b - size);
    }
    return value;
}

static PyObject *decode_utf8(Column *column, Span *span)
{
    size_t size;
    const uint8_t *at = take_sized(column, span, &size);
    if (at == NULL)
        return NULL;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)size, NULL);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return NULL;
        PyErr_Clear();
    }
    else if (column->b && PyUnicode_MAX_CHAR_VALUE(text) > 0xFFFF)
        Py_CLEAR(text);
    return text != NULL ? text : PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size);
}

static PyObject *called(PyObject *function, const uint8_t *at, size_t size)
{
    PyObject *data = PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size);
    if (data == NULL)
        return NULL;
    PyObject *value = PyObject_CallOneArg(function, data);
    Py_DECREF(data);
    return value;
}

static int all_ascii(const uint8_t *at, size_t size)
{
    uint64_t eight, bits = 0;
    for (; size >= 8; at += 8, size -= 8) {
        memcpy(&eight, at, 8);
        bits |= eight;
    }
    while (size-- > 0)
        bits |= *at++;
    return (bits & 0x8080808080808080) == 0;
}

static PyObject *decode_ascii(Column *column, Span *span)
{
    size_t size;
    const uint8_t *at = take_sized(column, span, &size);
    if (at == NULL)
        return NULL;
    return all_ascii(at, size) ? PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)size, NULL) : called(column->object, at, size);
}

static PyObject *decode_sized(Column *column, Span *span)
{
    size_t size;
    const uint8_t *at = take_sized(column, span, &size);
    return at == NULL ? NULL : called(column->object, at, size);
}

static PyObject *decode_fixed(Column *column, Span *span)
{
    const uint8_t *at = take(span, (size_t)column->a);
    return at == NULL ? NULL : called(column->object, at, (size_t)column->a);
}

/* ---- columns: the table of the head of this file ---- */

enum { NO_OBJECT, FUNCTION, ANYTHING };

static const struct {
    const char *name;
    Decode decode;
    int least, most; /* of a */
    int fixed;       /* bytes without the fraction, for those that have one */
    int object;
} KINDS[] = {
    {"signed", decode_signed, 1, 8, 0, NO_OBJECT},
    {"unsigned", decode_unsigned, 1, 8, 0, NO_OBJECT},
    {"big", decode_big, 1, 8, 0, NO_OBJECT},
    {"float", decode_float, 0, 0, 0, NO_OBJECT},
    {"double", decode_double, 0, 0, 0, NO_OBJECT},
    {"year", decode_year, 0, 0, 0, NO_OBJECT},
    {"date", decode_date, 0, 0, 0, NO_OBJECT},
    {"datetime", decode_datetime, 0, 6, 5, NO_OBJECT},
    {"timestamp", decode_timestamp, 0, 6, 4, NO_OBJECT},
    {"time", decode_time, 0, 6, 3, NO_OBJECT},
    {"decimal", decode_decimal, 1, 65, 0, NO_OBJECT},
    {"bytes", decode_bytes, 1, 4, 0, NO_OBJECT},
    {"utf8", decode_utf8, 1, 4, 0, NO_OBJECT},
    {"ascii", decode_ascii, 1, 4, 0, FUNCTION},
    {"sized", decode_sized, 1, 4, 0, FUNCTION},
    {"fixed", decode_fixed, 1, 255, 0, FUNCTION},
    {"absent", NULL, 0, 0, 0, ANYTHING},
};

/* Fill in a column from (name, a, b, object); -1 with an error. */
static int set_column(Column *column, PyObject *given)
{
    const char *name;
    PyObject *object;
    if (!PyTuple_Check(given) || !PyArg_ParseTuple(given, "snnO", &name, &column->a, &column->b, &object)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a column is a tuple of name, a, b and object");
        return -1;
    }
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (strcmp(name, KINDS[i].name) != 0)
            continue;
        int decimal = KINDS[i].decode == decode_decimal;
        if (column->a < KINDS[i].least || column->a > KINDS[i].most || column->b < 0 || column->b > (decimal ? column->a : 65535))
            break;
        if (KINDS[i].object == FUNCTION ? !PyCallable_Check(object) : KINDS[i].object == NO_OBJECT && object != Py_None)
            break;
        column->decode = KINDS[i].decode;
        column->size = decimal ? decimal_size(column->a, column->b) : KINDS[i].fixed + (column->a + 1) / 2;
        column->object = Py_NewRef(object);
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "no column is read as %s(%zd, %zd)", name, column->a, column->b);
    return -1;
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

PyDoc_STRVAR(rows_doc, "rows(before, after, data, at, end): the rows of an event, list of (image before, image after).\n\n"
                       "before, after: the Reader of the images, None where the operation has none. Raises ValueError.");

static PyObject *native_rows(PyObject *module, PyObject *args)
{
    PyObject *before, *after, *rows = NULL;
    Py_buffer data;
    Py_ssize_t at, end;
    PyTypeObject *type = ((State *)PyModule_GetState(module))->reader_type;
    if (!PyArg_ParseTuple(args, "OOy*nn", &before, &after, &data, &at, &end))
        return NULL;
    if ((before != Py_None && !Py_IS_TYPE(before, type)) || (after != Py_None && !Py_IS_TYPE(after, type)))
        PyErr_SetString(PyExc_TypeError, "expected a Reader or None");
    else if (before == Py_None && after == Py_None)
        odd("neither an image before nor one after");
    else if (at < 0 || at > end || end > data.len)
        odd("rows outside of their data");
    else {
        Span span = {(const uint8_t *)data.buf + at, (const uint8_t *)data.buf + end};
        rows = read_rows(before, after, &span);
    }
    PyBuffer_Release(&data);
    return rows;
}

PyDoc_STRVAR(image_doc, "image(reader, data, at): the image at `at` and where it ends. Raises ValueError.");

static PyObject *native_image(PyObject *module, PyObject *args)
{
    PyObject *reader, *row = NULL;
    Py_buffer data;
    Py_ssize_t at, end = 0;
    PyTypeObject *type = ((State *)PyModule_GetState(module))->reader_type;
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

/* ---- checksums: CRC-32 as zlib has it, reflected, polynomial 0xEDB88320 ---- */

static uint32_t CRC_TABLE[8][256];

static void fill_crc_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
        CRC_TABLE[0][byte] = crc;
    }
    for (int place = 1; place < 8; place++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = CRC_TABLE[place - 1][byte];
            CRC_TABLE[place][byte] = before >> 8 ^ CRC_TABLE[0][before & 0xFF];
        }
}

/* Eight bytes a step, one table for each of their places. `crc` is the register: neither start nor end value is inverted here. */
static uint32_t crc_tables(uint32_t crc, const uint8_t *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low = crc ^ (uint32_t)little(at, 4), high = (uint32_t)little(at + 4, 4);
        crc = CRC_TABLE[7][low & 0xFF] ^ CRC_TABLE[6][low >> 8 & 0xFF] ^ CRC_TABLE[5][low >> 16 & 0xFF] ^ CRC_TABLE[4][low >> 24] ^
              CRC_TABLE[3][high & 0xFF] ^ CRC_TABLE[2][high >> 8 & 0xFF] ^ CRC_TABLE[1][high >> 16 & 0xFF] ^ CRC_TABLE[0][high >> 24];
    }
    while (size-- > 0)
        crc = crc >> 8 ^ CRC_TABLE[0][(crc ^ *at++) & 0xFF];
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define FOLDS __attribute__((target("pclmul,sse2")))

/* 16 bytes moved on by as many bits as the constants stand for, modulo the polynomial. */
FOLDS static inline __m128i fold(__m128i bytes, __m128i by)
{
    return _mm_xor_si128(_mm_clmulepi64_si128(bytes, by, 0x00), _mm_clmulepi64_si128(bytes, by, 0x11));
}

FOLDS static inline __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

/* Carry-less multiplication folds 64 bytes a step into 64, then 16 (Intel, "Fast CRC Computation for Generic Polynomials Using
PCLMULQDQ", 2009; its constants): the checksum of what is left is that of the whole. `size` is at least 64. */
FOLDS static uint32_t crc_folded(uint32_t crc, const uint8_t *at, size_t size)
{
    const __m128i by64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = load(at + 16 * i);
    parts[0] = _mm_xor_si128(parts[0], _mm_cvtsi32_si128((int)crc));
    for (at += 64, size -= 64; size >= 64; at += 64, size -= 64)
        for (int i = 0; i < 4; i++)
            parts[i] = _mm_xor_si128(fold(parts[i], by64), load(at + 16 * i));
    __m128i one = parts[0];
    for (int i = 1; i < 4; i++)
        one = _mm_xor_si128(fold(one, by16), parts[i]);
    for (; size >= 16; at += 16, size -= 16)
        one = _mm_xor_si128(fold(one, by16), load(at));
    uint8_t left[16];
    _mm_storeu_si128((__m128i *)left, one);
    return crc_tables(crc_tables(0, left, 16), at, size);
}

static int can_fold(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("pclmul");
}
#else
#define crc_folded crc_tables
static int can_fold(void)
{
    return 0;
}
#endif

static int FOLDING;

static uint32_t checksum(const uint8_t *at, size_t size)
{
    return ~(FOLDING && size >= 64 ? crc_folded : crc_tables)(UINT32_MAX, at, size);
}

PyDoc_STRVAR(crc32_doc, "crc32(data, folding=True): the CRC-32 of data, for tests; folding False: without carry-less multiplication.");

static PyObject *native_crc32(PyObject *module, PyObject *args)
{
    Py_buffer data;
    int folding = 1;
    if (!PyArg_ParseTuple(args, "y*|p", &data, &folding))
        return NULL;
    uint32_t crc = folding ? checksum(data.buf, (size_t)data.len) : ~crc_tables(UINT32_MAX, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(crc);
}

/* ---- frames ---- */

enum { HEADER_SIZE = 19, CRC_SIZE = 4, EVENT_SIZE_MAX = (1 << 30) + (1 << 20) };
enum { FORMAT_DESCRIPTION = 15, START_ENCRYPTION = 164, PLACELESS = 0x40 | 0x20 };

typedef struct {
    PyTypeObject *type;
    PyObject *block;
    const uint8_t *data;
    Py_ssize_t size, at;
    uint64_t base; /* offset in the file of the block */
    int summed, placed;
} Hop;

/* The size of the event at `at`; 0 when it is not whole, or one for `binlog.frames` to judge. */
static Py_ssize_t plain_event(const Hop *hop)
{
    const uint8_t *head = hop->data + hop->at;
    if (hop->size - hop->at < HEADER_SIZE)
        return 0;
    Py_ssize_t size = (Py_ssize_t)little(head + 9, 4);
    if (size < HEADER_SIZE + hop->summed || size > EVENT_SIZE_MAX || size > hop->size - hop->at)
        return 0;
    if (head[4] == FORMAT_DESCRIPTION || head[4] == START_ENCRYPTION)
        return 0;
    uint32_t next = (uint32_t)little(head + 13, 4);
    uint32_t end = (uint32_t)(hop->base + (uint64_t)(hop->at + size));
    if (next != end && next != 0 && hop->placed && !(head[17] & PLACELESS))
        return 0;
    if (hop->summed && checksum(head, (size_t)(size - CRC_SIZE)) != (uint32_t)little(head + size - CRC_SIZE, 4))
        return 0;
    return size;
}

static PyObject *make_frame(const Hop *hop, Py_ssize_t size)
{
    const uint8_t *head = hop->data + hop->at;
    PyObject *frame = hop->type->tp_alloc(hop->type, 9);
    if (frame == NULL)
        return NULL;
    PyObject_GC_UnTrack(frame); /* numbers and bytes */
    PyObject *fields[] = {
        PyLong_FromLong(head[4]),
        PyLong_FromUnsignedLong((uint32_t)little(head, 4)),
        PyLong_FromUnsignedLong((uint32_t)little(head + 5, 4)),
        PyLong_FromLong((long)little(head + 17, 2)),
        PyLong_FromUnsignedLongLong(hop->base + (uint64_t)(hop->at + size)),
        Py_NewRef(hop->block),
        PyLong_FromSsize_t(hop->at),
        PyLong_FromSsize_t(size),
        PyLong_FromSsize_t(hop->at + size - hop->summed),
    };
    int whole = 1;
    for (int i = 0; i < 9; i++) {
        whole &= fields[i] != NULL;
        PyTuple_SET_ITEM(frame, i, fields[i]);
    }
    if (!whole)
        Py_CLEAR(frame);
    return frame;
}

PyDoc_STRVAR(frames_doc,
             "frames(make, block, at, base, checksum, placed, most): the whole events of a block from `at` on, list of `make`.\n\n"
             "make: `binlog.Frame`. base: offset in the file of the block. checksum: bytes of it at the end of each event, 0 or 4.\n"
             "placed: events say where they end in this file. most: how many at most. Stops before an event that is not whole, that\n"
             "is no plain one (format description, encryption), or whose size, checksum or place is wrong.");

static PyObject *native_frames(PyObject *module, PyObject *args)
{
    Hop hop;
    Py_ssize_t most;
    unsigned long long base;
    if (!PyArg_ParseTuple(args, "O!SnKipn", &PyType_Type, &hop.type, &hop.block, &hop.at, &base, &hop.summed, &hop.placed, &most))
        return NULL;
    hop.data = (const uint8_t *)PyBytes_AS_STRING(hop.block);
    hop.size = PyBytes_GET_SIZE(hop.block);
    hop.base = base;
    if (!PyType_IsSubtype(hop.type, &PyTuple_Type) || hop.at < 0 || hop.at > hop.size || (hop.summed != 0 && hop.summed != CRC_SIZE))
        return odd("expected a kind of tuple, an offset in the block, and a checksum of 0 or 4 bytes");
    PyObject *found = PyList_New(0);
    for (Py_ssize_t size; found != NULL && most-- > 0 && (size = plain_event(&hop)) > 0; hop.at += size) {
        PyObject *frame = make_frame(&hop, size);
        if (frame == NULL || PyList_Append(found, frame) < 0)
            Py_CLEAR(found);
        Py_XDECREF(frame);
    }
    return found;
}

/* ---- the module ---- */

static PyMethodDef methods[] = {
    {"rows", native_rows, METH_VARARGS, rows_doc},
    {"image", native_image, METH_VARARGS, image_doc},
    {"frames", native_frames, METH_VARARGS, frames_doc},
    {"crc32", native_crc32, METH_VARARGS, crc32_doc},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->reader_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    fill_crc_table();
    FOLDING = can_fold();
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
