/* Values: from the bytes of one to an object, and what each name in the table of `_native.c` stands for.

Law: what no server writes is an error (ValueError), never a value: the Python code judges it. A temporal or decimal is printed by
one function, for the object and for JSON alike. */

#include "_native.h"

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

static PyObject *decode_real(Column *column, Span *span)
{
    const uint8_t *at = take_fixed(column, span);
    if (at == NULL)
        return NULL;
    double number = column->size == 4 ? PyFloat_Unpack4((const char *)at, 1) : PyFloat_Unpack8((const char *)at, 1);
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

static char *print_date(const Column *column, const uint8_t *at, char *out)
{
    uint32_t stored = (uint32_t)little(at, 3), year = stored >> 9;
    return year > 9999 ? NULL : put_day(out, year, stored >> 5 & 15, stored & 31);
}

static char *print_datetime(const Column *column, const uint8_t *at, char *out)
{
    uint64_t packed = big(at, 5) ^ 1ULL << 39;
    uint32_t months = (uint32_t)(packed >> 22);
    if (months / 13 > 9999) /* a first bit of 0 too: before the year 0 */
        return NULL;
    out = put_day(out, months / 13, months % 13, packed >> 17 & 31);
    *out++ = ' ';
    out = put_clock(out, packed >> 12 & 31, packed >> 6 & 63, packed & 63);
    return put_fraction(out, (uint32_t)big(at + 5, column->size - 5), (int)column->a);
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

static char *print_timestamp(const Column *column, const uint8_t *at, char *out)
{
    uint32_t seconds = (uint32_t)big(at, 4), fraction = (uint32_t)big(at + 4, column->size - 4), clock = seconds % 86400;
    out = seconds || fraction ? put_epoch_day(out, seconds / 86400) : put_day(out, 0, 0, 0);
    *out++ = ' ';
    out = put_clock(out, clock / 3600, clock / 60 % 60, clock % 60);
    return put_fraction(out, fraction, (int)column->a);
}

/* Write microseconds since 1970 as an instant of UTC, as ISO 8601 has it: a fraction when there is one. Years of four digits only. */
char *print_instant(char *out, uint64_t microseconds)
{
    uint32_t fraction = (uint32_t)(microseconds % 1000000), clock = (uint32_t)(microseconds / 1000000 % 86400);
    out = put_epoch_day(out, (uint32_t)(microseconds / 86400000000));
    *out++ = 'T';
    out = put_clock(out, clock / 3600, clock / 60 % 60, clock % 60);
    out = fraction ? put_fraction(out, fraction, 6) : out;
    memcpy(out, "+00:00", 6);
    return out + 6;
}

static char *print_time(const Column *column, const uint8_t *at, char *out)
{
    int bits = (int)(8 * (column->size - 3));
    int64_t value = (int64_t)big(at, column->size) - ((int64_t)0x800000 << bits);
    uint64_t packed = (uint64_t)(value < 0 ? -value : value);
    uint32_t whole = (uint32_t)(packed >> bits);
    if (value < 0)
        *out++ = '-';
    out = put_clock(out, whole >> 12 & 0x3FF, whole >> 6 & 63, whole & 63);
    return put_fraction(out, (uint32_t)(packed & ((1ULL << bits) - 1)), (int)column->a);
}

/* The text is remembered under the bytes it came from. */
static PyObject *decode_temporal(Column *column, Span *span)
{
    const uint8_t *at = take_fixed(column, span);
    if (at == NULL)
        return NULL;
    uint64_t stored = big(at, column->size);
    if (column->text != NULL && column->seen == stored)
        return Py_NewRef(column->text);
    char text[PRINTED_MAX], *end = column->print(column, at, text);
    PyObject *made = end == NULL ? odd("bytes that no temporal has") : ascii_text(text, end - text), *last = column->text;
    if (made == NULL)
        return NULL;
    column->seen = stored;
    column->text = Py_NewRef(made);
    Py_XDECREF(last);
    return made;
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

static char *print_decimal(const Column *column, const uint8_t *at, char *out)
{
    int whole = (int)(column->a - column->b), scale = (int)column->b, wrong;
    char text[PRINTED_MAX];
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
        return NULL;
    *start = '0';
    while (start < point - 1 && *start == '0')
        start++;
    if (digits.flip && digits.any)
        *--start = '-';
    memcpy(out, start, (size_t)(digits.out - start));
    return out + (digits.out - start);
}

static PyObject *decode_decimal(Column *column, Span *span)
{
    const uint8_t *at = take_fixed(column, span);
    char text[PRINTED_MAX], *end = at == NULL ? NULL : print_decimal(column, at, text);
    return end != NULL ? ascii_text(text, end - text) : at == NULL ? NULL : odd("bytes that no decimal has");
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

PyObject *called(PyObject *function, const uint8_t *at, size_t size)
{
    PyObject *data = PyBytes_FromStringAndSize((const char *)at, (Py_ssize_t)size);
    if (data == NULL)
        return NULL;
    PyObject *value = PyObject_CallOneArg(function, data);
    Py_DECREF(data);
    return value;
}

int all_ascii(const uint8_t *at, size_t size)
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

/* ---- columns: the table of the head of `_native.c` ---- */

enum { NO_OBJECT, FUNCTION, ANYTHING };

static const struct {
    const char *name;
    Decode decode;
    Write write;
    Print print;
    int least, most; /* of a */
    int fixed;       /* bytes, of a temporal without its fraction */
    int object;
} KINDS[] = {
    {"signed", decode_signed, write_signed, NULL, 1, 8, 0, NO_OBJECT},
    {"unsigned", decode_unsigned, write_unsigned, NULL, 1, 8, 0, NO_OBJECT},
    {"big", decode_big, write_big, NULL, 1, 8, 0, NO_OBJECT},
    {"float", decode_real, write_real, NULL, 0, 0, 4, FUNCTION},
    {"double", decode_real, write_real, NULL, 0, 0, 8, FUNCTION},
    {"year", decode_year, write_year, NULL, 0, 0, 0, NO_OBJECT},
    {"date", decode_temporal, write_printed, print_date, 0, 0, 3, NO_OBJECT},
    {"datetime", decode_temporal, write_printed, print_datetime, 0, 6, 5, NO_OBJECT},
    {"timestamp", decode_temporal, write_printed, print_timestamp, 0, 6, 4, NO_OBJECT},
    {"time", decode_temporal, write_printed, print_time, 0, 6, 3, NO_OBJECT},
    {"decimal", decode_decimal, write_printed, print_decimal, 1, 65, 0, NO_OBJECT},
    {"bytes", decode_bytes, write_bytes, NULL, 1, 4, 0, NO_OBJECT},
    {"utf8", decode_utf8, write_utf8, NULL, 1, 4, 0, NO_OBJECT},
    {"ascii", decode_ascii, write_ascii, NULL, 1, 4, 0, FUNCTION},
    {"sized", decode_sized, write_decoded, NULL, 1, 4, 0, FUNCTION},
    {"fixed", decode_fixed, write_decoded, NULL, 1, 255, 0, FUNCTION},
    {"absent", NULL, NULL, NULL, 0, 0, 0, ANYTHING},
};

/* Fill in a column from (name, a, b, object); -1 with an error. */
int set_column(Column *column, PyObject *given)
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
        column->write = KINDS[i].write;
        column->print = KINDS[i].print;
        column->size = decimal ? decimal_size(column->a, column->b) : KINDS[i].fixed + (column->a + 1) / 2;
        column->object = Py_NewRef(object);
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "no column is read as %s(%zd, %zd)", name, column->a, column->b);
    return -1;
}
