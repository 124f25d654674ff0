/* Rows as JSON: what a plan holds of them, without an object for each value.

Law: byte for byte what orjson makes of the rows that `rows` gives. What it would not write, or write in another way each time, is
an error (ValueError): the Python code does it. No byte is written before there is room for it.

    value                            JSON
    NULL                             null
    integer                          its digits
    float, double                    the digits of orjson itself, which is the column's object; of short decimals our own
    year                             a number
    temporal, decimal                text
    text                             text as it is; \" \\ \b \t \n \f \r and \u00XX for the other characters below the blank
    bytes                            {"base64":…}, where `alone` says so the base64 as text
    what a function decodes          by the type of what it gives: integer of 64 bits, text, bytes or None */

#include "_native.h"

enum { NUMBER_MAX = 32 }; /* characters of an integer, or of a short decimal */

/* ---- room ---- */

int open_text(Text *text, size_t size)
{
    text->object = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (text->object == NULL)
        return -1;
    text->at = PyBytes_AS_STRING(text->object);
    text->end = text->at + size;
    text->alone = 0;
    return 0;
}

static int grow(Text *text, size_t size)
{
    size_t used = (size_t)(text->at - PyBytes_AS_STRING(text->object)), whole = used + used / 2 + size;
    if (_PyBytes_Resize(&text->object, (Py_ssize_t)whole) < 0)
        return -1;
    text->at = PyBytes_AS_STRING(text->object) + used;
    text->end = PyBytes_AS_STRING(text->object) + whole;
    return 0;
}

/* Have room for that many bytes; -1 with an error, and then without an object. */
static inline int room(Text *text, size_t size)
{
    return (size_t)(text->end - text->at) >= size ? 0 : grow(text, size);
}

int put_bytes(Text *text, const void *from, size_t size)
{
    if (room(text, size) < 0)
        return -1;
    memcpy(text->at, from, size);
    text->at += size;
    return 0;
}

static inline int put_char(Text *text, char character)
{
    if (room(text, 1) < 0)
        return -1;
    *text->at++ = character;
    return 0;
}

/* ---- numbers ---- */

static const char PAIRS[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                            "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

char *print_number(char *out, uint64_t number)
{
    char digits[20], *at = digits + sizeof digits;
    for (; number >= 100; number /= 100)
        memcpy(at -= 2, PAIRS + 2 * (number % 100), 2);
    if (number >= 10)
        memcpy(at -= 2, PAIRS + 2 * number, 2);
    else
        *--at = (char)('0' + number);
    size_t size = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, size);
    return out + size;
}

int put_number(Text *text, int negative, uint64_t number)
{
    if (room(text, NUMBER_MAX) < 0)
        return -1;
    if (negative)
        *text->at++ = '-';
    text->at = print_number(text->at, number);
    return 0;
}

int write_signed(Column *column, Span *span, Text *text)
{
    const uint8_t *at = take(span, (size_t)column->a);
    if (at == NULL)
        return -1;
    int unused = (int)(64 - 8 * column->a);
    int64_t number = (int64_t)(little(at, column->a) << unused) >> unused;
    return put_number(text, number < 0, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

int write_unsigned(Column *column, Span *span, Text *text)
{
    const uint8_t *at = take(span, (size_t)column->a);
    return at == NULL ? -1 : put_number(text, 0, little(at, column->a));
}

int write_big(Column *column, Span *span, Text *text)
{
    const uint8_t *at = take(span, (size_t)column->a);
    return at == NULL ? -1 : put_number(text, 0, big(at, column->a));
}

int write_year(Column *column, Span *span, Text *text)
{
    const uint8_t *at = take(span, 1);
    return at == NULL ? -1 : put_number(text, 0, *at ? 1900 + *at : 0);
}

/* Write a decimal of at most 15 digits, 6 of them after the point; NULL when the number is no such one.

Two decimals of up to 15 digits are never one double: the shortest digits that give the number back are these. */
static char *print_short(char *out, double number)
{
    double size = number < 0 ? -number : number, tens = 10;
    if (!(size >= 1e-3 && size < 1e9))
        return NULL;
    for (int places = 1; places <= 6; places++, tens *= 10) {
        uint64_t whole = (uint64_t)(size * tens + 0.5), unit = (uint64_t)tens;
        if ((double)whole / tens != size)
            continue;
        if (number < 0)
            *out++ = '-';
        out = print_number(out, whole / unit);
        *out++ = '.';
        uint64_t fraction = whole % unit;
        for (int i = places - 1; i >= 0; i--, fraction /= 10)
            out[i] = (char)('0' + fraction % 10);
        return out + places;
    }
    return NULL;
}

int write_real(Column *column, Span *span, Text *text)
{
    Span before = *span;
    const uint8_t *at = take_fixed(column, span);
    if (at == NULL || room(text, NUMBER_MAX) < 0)
        return -1;
    double number = column->size == 4 ? PyFloat_Unpack4((const char *)at, 1) : PyFloat_Unpack8((const char *)at, 1);
    if (number == -1.0 && PyErr_Occurred())
        return -1;
    char *end = print_short(text->at, number);
    if (end != NULL) {
        text->at = end;
        return 0;
    }
    PyObject *value = column->decode(column, &before);
    PyObject *digits = value == NULL ? NULL : PyObject_CallOneArg(column->object, value);
    int done = -1;
    if (digits != NULL && PyBytes_CheckExact(digits))
        done = put_bytes(text, PyBytes_AS_STRING(digits), (size_t)PyBytes_GET_SIZE(digits));
    else if (digits != NULL)
        odd("the digits of a number are no bytes");
    Py_XDECREF(value);
    Py_XDECREF(digits);
    return done;
}

int write_printed(Column *column, Span *span, Text *text)
{
    const uint8_t *at = take_fixed(column, span);
    if (at == NULL || room(text, PRINTED_MAX + 2) < 0)
        return -1;
    char *end = column->print(column, at, text->at + 1);
    if (end == NULL) {
        odd("bytes that no temporal or decimal has");
        return -1;
    }
    *text->at = *end = '"';
    text->at = end + 1;
    return 0;
}

/* ---- bytes ---- */

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bytes in base64, `zeros` behind them; there is room. */
static char *print_base64(char *out, const uint8_t *at, size_t size, size_t zeros)
{
    for (; size >= 3; at += 3, size -= 3, out += 4) {
        uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        out[0] = BASE64[three >> 18];
        out[1] = BASE64[three >> 12 & 63];
        out[2] = BASE64[three >> 6 & 63];
        out[3] = BASE64[three & 63];
    }
    uint8_t last[3] = {0};
    while (size || zeros) {
        size_t have = 0;
        for (; have < 3 && (size || zeros); have++) {
            last[have] = size ? *at++ : 0;
            size ? size-- : zeros--;
        }
        memset(last + have, 0, 3 - have);
        out[0] = BASE64[last[0] >> 2];
        out[1] = BASE64[(last[0] & 3) << 4 | last[1] >> 4];
        out[2] = have > 1 ? BASE64[(last[1] & 15) << 2 | last[2] >> 6] : '=';
        out[3] = have > 2 ? BASE64[last[2] & 63] : '=';
        out += 4;
    }
    return out;
}

static int put_base64(Text *text, const uint8_t *at, size_t size, size_t zeros)
{
    static const char open[] = "{\"base64\":\"", close[] = "\"}";
    if (room(text, (size + zeros) / 3 * 4 + 4 + sizeof open + sizeof close) < 0)
        return -1;
    size_t before = text->alone ? 1 : sizeof open - 1, after = text->alone ? 1 : sizeof close - 1;
    memcpy(text->at, text->alone ? close : open, before);
    text->at = print_base64(text->at + before, at, size, zeros);
    memcpy(text->at, close, after);
    text->at += after;
    return 0;
}

int write_bytes(Column *column, Span *span, Text *text)
{
    size_t size, fill = (size_t)column->b;
    const uint8_t *at = take_sized(column, span, &size);
    return at == NULL ? -1 : put_base64(text, at, size, size < fill ? fill - size : 0);
}

/* ---- text ---- */

enum { PART = 1024, ESCAPE_MAX = 6, WIDE_MAX = 4 };

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline int is_plain(uint8_t byte)
{
    return byte >= ' ' && byte != '"' && byte != '\\' && byte < 0x80;
}

/* Whether all of eight bytes are plain: no sum of them overflows into the next unless an earlier one is not. */
static inline int are_plain(uint64_t eight)
{
    uint64_t below = eight - EACH_BYTE(' '), quote = eight ^ EACH_BYTE('"'), stroke = eight ^ EACH_BYTE('\\');
    return ((eight | below | (quote - EACH_BYTE(1)) | (stroke - EACH_BYTE(1))) & EACH_BYTE(0x80)) == 0;
}

/* Copy a run of characters that stand for themselves; return how many. There is room for all. */
static inline size_t copy_plain(char *out, const uint8_t *at, size_t size)
{
    size_t done = 0;
    uint64_t eight;
    for (; size - done >= 8; done += 8) {
        memcpy(&eight, at + done, 8);
        memcpy(out + done, &eight, 8);
        if (!are_plain(eight))
            break;
    }
    if (size >= 8 && size - done < 8) { /* the rest, with bytes that are copied already */
        memcpy(&eight, at + size - 8, 8);
        memcpy(out + size - 8, &eight, 8);
        if (are_plain(eight))
            return size;
    }
    for (; done < size && is_plain(at[done]); done++)
        out[done] = (char)at[done];
    return done;
}

static inline char *print_escaped(char *out, uint8_t byte)
{
    static const char SHORT[] = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu", HEX[] = "0123456789abcdef";
    *out++ = '\\';
    *out++ = byte >= ' ' ? (char)byte : SHORT[byte];
    if (out[-1] != 'u')
        return out;
    memcpy(out, "00", 2);
    out[2] = HEX[byte >> 4];
    out[3] = HEX[byte & 15];
    return out + 4;
}

/* How many bytes the character of more than one byte at `at` has; 0 when these are no UTF-8. */
static inline size_t wide_size(const uint8_t *at, size_t size)
{
    uint8_t first = at[0], low = 0x80, high = 0xBF;
    size_t whole = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (first < 0xC2 || first > 0xF4 || size < whole)
        return 0;
    if (first == 0xE0)
        low = 0xA0; /* shorter forms are for smaller ones */
    else if (first == 0xED)
        high = 0x9F; /* no halves of pairs */
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F; /* the last one is U+10FFFF */
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < whole; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return whole;
}

/* Write UTF-8 as a JSON string; 1, and nothing written, when it is none, or has a character of more than `widest` bytes. */
int put_text(Text *text, const uint8_t *at, size_t size, size_t widest)
{
    Py_ssize_t start = text->at - PyBytes_AS_STRING(text->object);
    if (put_char(text, '"') < 0)
        return -1;
    const uint8_t *end = at + size;
    while (at < end) {
        const uint8_t *part = (size_t)(end - at) > PART ? at + PART : end;
        if (room(text, ESCAPE_MAX * (size_t)(part - at) + WIDE_MAX) < 0)
            return -1;
        while (at < part) {
            size_t plain = copy_plain(text->at, at, (size_t)(part - at));
            text->at += plain;
            at += plain;
            while (at < part && *at > 0x7F) {
                size_t whole = wide_size(at, (size_t)(end - at));
                if (whole == 0 || whole > widest) {
                    text->at = PyBytes_AS_STRING(text->object) + start;
                    return 1;
                }
                memcpy(text->at, at, whole);
                text->at += whole;
                at += whole;
            }
            if (at < part && !is_plain(*at))
                text->at = print_escaped(text->at, *at++);
        }
    }
    return put_char(text, '"');
}

int write_utf8(Column *column, Span *span, Text *text)
{
    size_t size;
    const uint8_t *at = take_sized(column, span, &size);
    int wrong = at == NULL ? -1 : put_text(text, at, size, column->b ? 3 : 4);
    return wrong == 1 ? put_base64(text, at, size, 0) : wrong;
}

/* ---- what Python decodes ---- */

static int put_integer(Text *text, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow <= 0)
        return overflow < 0 ? (odd("an integer of more than 64 bits"), -1)
                            : put_number(text, number < 0, number < 0 ? -(uint64_t)number : (uint64_t)number);
    unsigned long long large = PyLong_AsUnsignedLongLong(value);
    if (large == (unsigned long long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        odd("an integer of more than 64 bits");
        return -1;
    }
    return put_number(text, 0, large);
}

static int put_object(Text *text, PyObject *value)
{
    if (value == Py_None)
        return put_bytes(text, "null", 4);
    if (PyBytes_CheckExact(value))
        return put_base64(text, (const uint8_t *)PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value), 0);
    if (text->alone)
        return odd("a value that is no bytes in a column of bytes"), -1;
    if (PyLong_CheckExact(value))
        return put_integer(text, value);
    if (!PyUnicode_CheckExact(value))
        return odd("a value that is not written here"), -1;
    Py_ssize_t size;
    const char *utf8 = PyUnicode_AsUTF8AndSize(value, &size); /* fails for halves of pairs, with a ValueError */
    return utf8 == NULL ? -1 : put_text(text, (const uint8_t *)utf8, (size_t)size, 4);
}

static int put_released(Text *text, PyObject *value)
{
    int done = value == NULL ? -1 : put_object(text, value);
    Py_XDECREF(value);
    return done;
}

int write_ascii(Column *column, Span *span, Text *text)
{
    size_t size;
    const uint8_t *at = take_sized(column, span, &size);
    if (at == NULL)
        return -1;
    return all_ascii(at, size) ? put_text(text, at, size, 1) : put_released(text, called(column->object, at, size));
}

int write_decoded(Column *column, Span *span, Text *text)
{
    return put_released(text, column->decode(column, span));
}

/* ---- rows ---- */

static int write_image(const Reader *reader, const char *alone, Span *span, Text *text)
{
    const uint8_t *nulls = take(span, (size_t)reader->bitmap);
    if (nulls == NULL || put_char(text, '[') < 0)
        return -1;
    Py_ssize_t bit = 0;
    for (Py_ssize_t i = 0; i < Py_SIZE(reader); i++) {
        Column *column = (Column *)&reader->columns[i];
        if (i && put_char(text, ',') < 0)
            return -1;
        text->alone = alone[i];
        int written;
        if (column->write == NULL)
            written = put_object(text, column->object);
        else if (nulls[bit >> 3] >> (bit & 7) & 1)
            written = put_bytes(text, "null", 4);
        else
            written = column->write(column, span, text);
        if (written < 0)
            return -1;
        bit += column->write != NULL;
    }
    return put_char(text, ']');
}

static int write_pair(const Reader *before, const Reader *after, const char *alone, Span *span, Text *text)
{
    if (put_char(text, '[') < 0)
        return -1;
    if ((before == NULL ? put_bytes(text, "null", 4) : write_image(before, alone, span, text)) < 0 || put_char(text, ',') < 0)
        return -1;
    if ((after == NULL ? put_bytes(text, "null", 4) : write_image(after, alone, span, text)) < 0)
        return -1;
    return put_char(text, ']');
}

/* Write the rows up to the end of the span; how many they are, or -1. */
Py_ssize_t put_rows(Text *text, const Reader *before, const Reader *after, const char *alone, Span *span)
{
    Py_ssize_t count = 0;
    if (put_char(text, '[') < 0)
        return -1;
    for (; span->at < span->end; count++)
        if ((count && put_char(text, ',') < 0) || write_pair(before, after, alone, span, text) < 0)
            return -1;
    return put_char(text, ']') < 0 ? -1 : count;
}

/* The rows up to the end of the span, and how many they are. */
PyObject *json_rows(const Reader *before, const Reader *after, const char *alone, Span *span)
{
    Text text;
    if (open_text(&text, (size_t)(span->end - span->at) * 3 / 2 + 256) < 0)
        return NULL;
    Py_ssize_t count = put_rows(&text, before, after, alone, span);
    if (count >= 0 && _PyBytes_Resize(&text.object, text.at - PyBytes_AS_STRING(text.object)) == 0)
        return Py_BuildValue("Nn", text.object, count);
    Py_XDECREF(text.object);
    return NULL;
}
