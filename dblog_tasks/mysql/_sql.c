/* Rows of a plan as statements of SQL, compiled: what `sql` and `literals` do, for the many rows of a plan.

Law: this file is only faster, never different. It goes from the bytes of a plan's line (format: `plan`) to those of the script,
in one pass. Whatever is not plain (JSON as nobody writes it, rows of another width, an enum's error value) is not judged here:
ValueError, and Python reads the line again. So is a value's literal where its kind below does not fit: Python's `literal` is called
with it. No byte at or after `end` is ever looked at; nothing is recursive; memory is some times that of the line. No I/O, no state.

    JSON                         is                    written where the slot's kind is
    null                         NULL                  the slot's text for NULL
    -5                           integer, 64 bits      integer: as it stands
    1.5, 1e-7                    double                double: as Python has it, with an exponent
    "…"                          text                  text: quoted, or in hex; ascii: quoted, where it is; decimal: as it stands
    "…" in a binary column       bytes in base64       hex: X'…'
    {"base64":"…"}               bytes                 hex: X'…'

Two values of a column are equal where their JSON is: of every value but a double one form alone is taken. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *at, *end;
} Span;

enum { NONE, INTEGER, REAL, TEXT, BYTES };                   /* what a token is; `from` and `size` are those inside the quotes */
enum { ESCAPED = 1, QUOTED = 2, WIDE = 4, CONTROL = 8 };     /* what is in a text: a backslash, ', more than ASCII, controls */
enum { BINARY = 1, WRITTEN = 2, ENUM = 4 };                  /* what a column is: the flags `Rows` is given */
enum { INTEGER_DIGITS = 20, REAL_CHARACTERS = 40, EXACT_DIGITS = 15 };
enum { PIECE = 1 << 18 }; /* bytes, about, that are written at once */

typedef struct {
    const uint8_t *from;
    size_t size;
    uint8_t type, marks;
} Token;

typedef struct {
    uint8_t *data;
    size_t size, capacity;
} Out;

typedef struct Slot Slot;
typedef int (*Write)(const Slot *, const Token *, Out *); /* 1: written; 0: not of this kind; -1: an error is set */

struct Slot {
    Py_ssize_t at;
    Write write;                       /* NULL: always `literal` */
    PyObject *before, *null, *literal; /* bytes, bytes, function */
};

typedef struct {
    PyObject_VAR_HEAD
    PyObject *tail; /* bytes */
    Py_ssize_t width;
    Slot slots[];
} Lines;

typedef struct {
    PyObject_VAR_HEAD
    Lines *deletes, *values;
    uint8_t flags[];
} Rows;

typedef struct {
    PyTypeObject *lines_type, *rows_type;
} State;

/* ---- bytes ---- */

static int odd(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

/* Make room for so many more bytes; return where they go, NULL with an error. */
static uint8_t *room(Out *out, size_t size)
{
    if (out->capacity - out->size < size) {
        size_t capacity = out->capacity * 2 + size + 4096;
        uint8_t *data = capacity > PY_SSIZE_T_MAX ? NULL : PyMem_Realloc(out->data, capacity);
        if (data == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        out->data = data;
        out->capacity = capacity;
    }
    return out->data + out->size;
}

static int put(Out *out, const void *from, size_t size)
{
    uint8_t *to = room(out, size);
    if (to == NULL)
        return -1;
    memcpy(to, from, size);
    out->size += size;
    return 1;
}

static int put_bytes(Out *out, PyObject *bytes)
{
    return put(out, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

static char HEX[256][2];     /* of a byte */
static int8_t SIXES[256];    /* of a character of base64; -1 for others */
static uint8_t PLAIN[256];   /* whether a character of a text stands for itself everywhere */

static void fill_tables(void)
{
    for (int i = 0; i < 256; i++) {
        HEX[i][0] = "0123456789ABCDEF"[i >> 4];
        HEX[i][1] = "0123456789ABCDEF"[i & 15];
        SIXES[i] = -1;
        PLAIN[i] = i >= 0x20 && i < 0x7f && i != '"' && i != '\'' && i != '\\';
    }
    for (int8_t i = 0; i < 64; i++)
        SIXES[(uint8_t) "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i]] = i;
}

static inline uint8_t *put_hex(uint8_t *to, uint8_t byte)
{
    memcpy(to, HEX[byte], 2);
    return to + 2;
}

/* ---- JSON: tokens ---- */

static inline int expect(Span *span, const char *text, size_t size)
{
    if ((size_t)(span->end - span->at) < size || memcmp(span->at, text, size) != 0)
        return odd("not the JSON of rows");
    span->at += size;
    return 0;
}

static inline int next_is(const Span *span, char character)
{
    return span->at < span->end && *span->at == (uint8_t)character;
}

static inline const uint8_t *digits(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static int fits_64_bits(const uint8_t *from, size_t size)
{
    if (*from == '-')
        return size < 20 || (size == 20 && memcmp(from, "-9223372036854775808", 20) <= 0);
    return size < 20 || (size == 20 && memcmp(from, "18446744073709551615", 20) <= 0);
}

static int real(const Token *token, double *number)
{
    char text[REAL_CHARACTERS + 1];
    memcpy(text, token->from, token->size);
    text[token->size] = 0;
    *number = PyOS_string_to_double(text, NULL, NULL);
    if (*number == -1.0 && PyErr_Occurred())
        return -1;
    return isfinite(*number) ? 0 : odd("a number beyond a double");
}

static int scan_number(Span *span, Token *token)
{
    const uint8_t *from = span->at, *first = from + (*from == '-'), *at = digits(first, span->end);
    int long_exponent = 0;
    token->from = from;
    token->type = INTEGER;
    if (at == first || (*first == '0' && at - first > 1))
        return odd("not a number");
    if (at < span->end && *at == '.') {
        const uint8_t *fraction = at + 1;
        if ((at = digits(fraction, span->end)) == fraction)
            return odd("not a number");
        token->type = REAL;
    }
    if (at < span->end && (*at == 'e' || *at == 'E')) {
        const uint8_t *exponent = at + 1;
        exponent += exponent < span->end && (*exponent == '+' || *exponent == '-');
        if ((at = digits(exponent, span->end)) == exponent)
            return odd("not a number");
        token->type = REAL;
        long_exponent = at - exponent > 2;
    }
    token->size = (size_t)(at - from);
    span->at = at;
    if (token->type == REAL && token->size > REAL_CHARACTERS)
        return odd("a number of many digits");
    double number;
    if (token->type == REAL)
        return long_exponent ? real(token, &number) : 0;
    return (*from == '-' && *first == '0') || !fits_64_bits(from, token->size) ? odd("not an integer of 64 bits") : 0;
}

/* The size of the UTF-8 sequence of two bytes or more that begins here, 0 where none does. */
static int sequence(const uint8_t *at, const uint8_t *end)
{
    static const uint8_t LOWEST[] = {0, 0, 0x80, 0x80, 0x80}, LEAD[] = {0, 0, 0xC2, 0xE0, 0xF0};
    int size = *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : 2;
    if (*at < LEAD[2] || *at > 0xF4 || end - at < size)
        return 0;
    uint8_t lowest = *at == 0xE0 ? 0xA0 : *at == 0xF0 ? 0x90 : LOWEST[size];
    uint8_t highest = *at == 0xED ? 0x9F : *at == 0xF4 ? 0x8F : 0xBF; /* no surrogates, nothing above U+10FFFF */
    if (at[1] < lowest || at[1] > highest)
        return 0;
    for (int i = 2; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return size;
}

/* The character of the escape at `at`, and how long that is; -1 where nobody would write it so. */
static inline int escape(const uint8_t *at, const uint8_t *end, int *size)
{
    static const char NAMES[] = "\"\\bfnrt", CHARACTERS[] = "\"\\\b\f\n\r\t";
    if (end - at < 2)
        return -1;
    const char *name = memchr(NAMES, at[1], sizeof NAMES - 1);
    *size = 2;
    if (name != NULL)
        return CHARACTERS[name - NAMES];
    *size = 6;
    if (end - at < 6 || memcmp(at, "\\u00", 4) != 0 || (at[4] != '0' && at[4] != '1'))
        return -1;
    int low = at[5] >= '0' && at[5] <= '9' ? at[5] - '0' : at[5] >= 'a' && at[5] <= 'f' ? at[5] - 'a' + 10 : -1;
    int character = (at[4] - '0') * 16 + low;
    return low < 0 || memchr(CHARACTERS, character, sizeof CHARACTERS - 1) != NULL ? -1 : character;
}

static int is_control(int character)
{
    return character < 0x20 && character != 0 && character != '\t' && character != '\n' && character != '\r' && character != 0x1a;
}

/* Where the characters that stand for themselves end. */
#if defined(__SSE2__) && defined(__GNUC__)
#include <emmintrin.h>

static inline const uint8_t *plain_end(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 16; at += 16) {
        __m128i text = _mm_loadu_si128((const __m128i *)at);
        __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(text, _mm_set1_epi8('"')), _mm_cmpeq_epi8(text, _mm_set1_epi8('\\')));
        marks = _mm_or_si128(marks, _mm_cmpeq_epi8(text, _mm_set1_epi8('\'')));
        marks = _mm_or_si128(marks, _mm_cmpeq_epi8(text, _mm_set1_epi8(0x7f)));
        marks = _mm_or_si128(marks, _mm_cmplt_epi8(text, _mm_set1_epi8(0x20))); /* signed: those above 0x7f too */
        int found = _mm_movemask_epi8(marks);
        if (found)
            return at + __builtin_ctz((unsigned)found);
    }
    while (at < end && PLAIN[*at])
        at++;
    return at;
}
#else
static inline const uint8_t *plain_end(const uint8_t *at, const uint8_t *end)
{
    while (at < end && PLAIN[*at])
        at++;
    return at;
}
#endif

/* What is in the text from here on, up to its closing quote. */
static int scan_text(Span *span, Token *token)
{
    const uint8_t *at = ++span->at, *end = span->end;
    token->type = TEXT;
    token->marks = 0;
    token->from = at;
    for (;;) {
        at = plain_end(at, end);
        if (at >= end)
            return odd("a text without an end");
        int size = 1;
        if (*at == '"')
            break;
        if (*at == '\'')
            token->marks |= QUOTED;
        else if (*at == 0x7f)
            token->marks |= CONTROL;
        else if (*at == '\\') {
            int character = escape(at, end, &size);
            if (character < 0)
                return odd("an escape that nobody writes");
            token->marks |= is_control(character) ? ESCAPED | CONTROL : ESCAPED;
        }
        else if (*at >= 0x80 && (size = sequence(at, end)) != 0)
            token->marks |= at[0] == 0xC2 && at[1] < 0xA0 ? WIDE | CONTROL : WIDE;
        else
            return odd("bytes that are no text");
        at += size;
    }
    token->size = (size_t)(at - token->from);
    span->at = at + 1;
    return 0;
}

/* Whether the token is base64 in its only form: whole groups, and no bits left. */
static int is_base64(const Token *token)
{
    const uint8_t *at = token->from;
    size_t size = token->size;
    if (size % 4 || token->marks & ~QUOTED)
        return 0;
    size_t padded = size == 0 ? 0 : at[size - 1] != '=' ? 0 : at[size - 2] != '=' ? 1 : 2;
    int all = 0;
    for (size_t i = 0; i < size - padded; i++)
        all |= SIXES[at[i]];
    return all >= 0 && (padded == 0 || (SIXES[at[size - padded - 1]] & (padded == 1 ? 3 : 15)) == 0);
}

static int scan_value(Span *span, Token *token, int binary)
{
    if (span->at >= span->end)
        return odd("rows end early");
    switch (*span->at) {
    case '"':
        if (scan_text(span, token) < 0)
            return -1;
        if (!binary)
            return 0;
        token->type = BYTES;
        return is_base64(token) ? 0 : odd("not base64");
    case 'n':
        token->type = NONE;
        token->size = 0;
        token->from = span->at;
        return expect(span, "null", 4);
    case '{':
        if (binary || expect(span, "{\"base64\":", 10) < 0 || !next_is(span, '"') || scan_text(span, token) < 0)
            return odd("neither base64");
        token->type = BYTES;
        return is_base64(token) ? expect(span, "}", 1) : odd("not base64");
    default:
        return scan_number(span, token);
    }
}

/* One row or null: 1, 0; -1 with an error. */
static int scan_row(Span *span, const Rows *rows, Token *tokens)
{
    if (next_is(span, 'n'))
        return expect(span, "null", 4);
    if (expect(span, "[", 1) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < Py_SIZE(rows); i++) {
        if (i != 0 && expect(span, ",", 1) < 0)
            return -1;
        if (scan_value(span, &tokens[i], rows->flags[i] & BINARY) < 0)
            return -1;
    }
    return expect(span, "]", 1) < 0 ? -1 : 1;
}

/* ---- values as SQL ---- */

/* Write the text behind its escapes; there is room. */
static uint8_t *unescaped(const Token *token, uint8_t *to)
{
    const uint8_t *at = token->from, *end = at + token->size;
    for (int size; at < end; at += size) {
        size = 1;
        *to++ = (uint8_t)(*at == '\\' ? escape(at, end, &size) : *at);
    }
    return to;
}

static int put_control_text(const Token *token, Out *out)
{
    uint8_t *to = room(out, 3 * token->size + 16);
    if (to == NULL)
        return -1;
    uint8_t *text = to + 2 * token->size + 16, *end = unescaped(token, text); /* behind where its hex goes */
    memcpy(to, "_utf8mb4 X'", 11);
    to += 11;
    while (text < end)
        to = put_hex(to, *text++);
    *to++ = '\'';
    out->size = (size_t)(to - out->data);
    return 1;
}

/* Write an escape of JSON as one of SQL. */
static uint8_t *put_escape(uint8_t *to, int character)
{
    static const char CHARACTERS[] = "\0\n\r\x1a\\", NAMES[] = "0nrZ\\";
    const char *found = memchr(CHARACTERS, character, sizeof CHARACTERS - 1);
    if (found != NULL) {
        *to++ = '\\';
        character = NAMES[found - CHARACTERS];
    }
    *to++ = (uint8_t)character;
    return to;
}

static int put_text(const Token *token, Out *out)
{
    const uint8_t *at = token->from, *end = at + token->size;
    uint8_t *to = room(out, 2 * token->size + 2);
    if (to == NULL)
        return -1;
    *to++ = '\'';
    if (token->marks & (ESCAPED | QUOTED)) {
        for (int size; at < end; at += size) {
            size = 1;
            if (*at == '\\')
                to = put_escape(to, escape(at, end, &size));
            else {
                if (*at == '\'')
                    *to++ = '\'';
                *to++ = *at;
            }
        }
    }
    else {
        memcpy(to, at, token->size);
        to += token->size;
    }
    *to++ = '\'';
    out->size = (size_t)(to - out->data);
    return 1;
}

static int write_text(const Slot *slot, const Token *token, Out *out)
{
    return token->type != TEXT ? 0 : token->marks & CONTROL ? put_control_text(token, out) : put_text(token, out);
}

static int write_ascii(const Slot *slot, const Token *token, Out *out)
{
    return token->type != TEXT || token->marks & (CONTROL | WIDE) ? 0 : put_text(token, out);
}

static int write_integer(const Slot *slot, const Token *token, Out *out)
{
    return token->type == INTEGER ? put(out, token->from, token->size) : 0;
}

static int write_decimal(const Slot *slot, const Token *token, Out *out)
{
    if (token->type != TEXT || token->size == 0)
        return 0;
    const uint8_t *end = token->from + token->size, *whole = token->from + (*token->from == '-'), *at = digits(whole, end);
    if (at == whole)
        return 0;
    if (at < end && *at == '.') {
        const uint8_t *fraction = at + 1;
        if ((at = digits(fraction, end)) == fraction)
            return 0;
    }
    return at == end ? put(out, token->from, token->size) : 0;
}

/* Whether it is written as Python writes it: few enough digits to be the shortest of their double, no zero too many, no exponent. */
static int is_shortest(const Token *token)
{
    const uint8_t *at = token->from + (*token->from == '-'), *end = token->from + token->size, *point = memchr(at, '.', (size_t)(end - at));
    if (point == NULL || end - at > EXACT_DIGITS + 1 || digits(point + 1, end) != end)
        return 0;
    if (end - point > 2 && end[-1] == '0')
        return 0;
    return *at != '0' || end - point < 5 || memcmp(point + 1, "0000", 4) != 0;
}

static int write_double(const Slot *slot, const Token *token, Out *out)
{
    if (token->type != REAL)
        return 0;
    if (is_shortest(token))
        return put(out, token->from, token->size) < 0 ? -1 : put(out, "e0", 2);
    double number;
    if (real(token, &number) < 0)
        return -1;
    char *text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL)
        return -1;
    int done = put(out, text, strlen(text));
    if (done > 0 && strchr(text, 'e') == NULL)
        done = put(out, "e0", 2);
    PyMem_Free(text);
    return done;
}

static inline uint32_t group(const uint8_t *at)
{
    return (uint32_t)SIXES[at[0]] << 18 | (uint32_t)SIXES[at[1]] << 12 | (uint32_t)SIXES[at[2]] << 6 | (uint32_t)SIXES[at[3]];
}

/* The last group of base64, filled up, as one of whole bytes; return how many of them count. */
static int last_group(const uint8_t *at, uint32_t *bytes)
{
    uint8_t filled[4];
    memcpy(filled, at, 4);
    int count = filled[3] != '=' ? 3 : filled[2] != '=' ? 2 : 1;
    for (int i = count + 1; i < 4; i++)
        filled[i] = 'A';
    *bytes = group(filled);
    return count;
}

static int write_hex(const Slot *slot, const Token *token, Out *out)
{
    if (token->type != BYTES)
        return 0;
    uint8_t *to = room(out, token->size / 4 * 6 + 3);
    if (to == NULL)
        return -1;
    const uint8_t *at = token->from, *end = at + token->size;
    uint32_t bytes;
    *to++ = 'X';
    *to++ = '\'';
    for (; end - at > 4; at += 4) {
        bytes = group(at);
        to = put_hex(put_hex(put_hex(to, bytes >> 16 & 255), bytes >> 8 & 255), bytes & 255);
    }
    if (at < end) {
        int count = last_group(at, &bytes);
        for (int i = 0; i < count; i++)
            to = put_hex(to, bytes >> (16 - 8 * i) & 255);
    }
    *to++ = '\'';
    out->size = (size_t)(to - out->data);
    return 1;
}

/* ---- values as Python has them, for literals in Python ---- */

static PyObject *bytes_of(const Token *token)
{
    Py_ssize_t size = (Py_ssize_t)(token->size / 4 * 3);
    uint32_t bytes = 0;
    int count = size == 0 ? 3 : last_group(token->from + token->size - 4, &bytes);
    PyObject *made = PyBytes_FromStringAndSize(NULL, size - 3 + count);
    if (made == NULL || size == 0)
        return made;
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(made);
    for (int i = 0; i < count; i++)
        to[size - 3 + i] = (uint8_t)(bytes >> (16 - 8 * i));
    for (const uint8_t *at = token->from; size > 3; at += 4, size -= 3) {
        bytes = group(at);
        *to++ = (uint8_t)(bytes >> 16);
        *to++ = (uint8_t)(bytes >> 8);
        *to++ = (uint8_t)bytes;
    }
    return made;
}

static PyObject *text_of(const Token *token)
{
    if (!(token->marks & ESCAPED))
        return PyUnicode_DecodeUTF8((const char *)token->from, (Py_ssize_t)token->size, NULL);
    uint8_t *text = PyMem_Malloc(token->size);
    if (text == NULL)
        return PyErr_NoMemory();
    uint8_t *end = unescaped(token, text);
    PyObject *made = PyUnicode_DecodeUTF8((const char *)text, end - text, NULL);
    PyMem_Free(text);
    return made;
}

static PyObject *value_of(const Token *token)
{
    char text[INTEGER_DIGITS + 1];
    switch (token->type) {
    case INTEGER:
        memcpy(text, token->from, token->size);
        text[token->size] = 0;
        return PyLong_FromString(text, NULL, 10);
    case REAL:
        odd("a double elsewhere");
        return NULL;
    case TEXT:
        return text_of(token);
    default:
        return bytes_of(token);
    }
}

static int write_called(const Slot *slot, const Token *token, Out *out)
{
    PyObject *value = value_of(token), *text = value == NULL ? NULL : PyObject_CallOneArg(slot->literal, value);
    Py_ssize_t size = 0;
    const char *data = NULL;
    Py_XDECREF(value);
    if (text != NULL && !PyUnicode_Check(text))
        odd("a literal that is no text");
    else if (text != NULL)
        data = PyUnicode_AsUTF8AndSize(text, &size);
    int done = data == NULL ? -1 : put(out, data, (size_t)size);
    Py_XDECREF(text);
    return done;
}

/* ---- lines: what stands between values ---- */

static int write_line(const Lines *lines, const Token *tokens, Out *out)
{
    for (Py_ssize_t i = 0; i < Py_SIZE(lines); i++) {
        const Slot *slot = &lines->slots[i];
        const Token *token = &tokens[slot->at];
        if (token->type == NONE) {
            if (put_bytes(out, slot->null) < 0)
                return -1;
            continue;
        }
        if (put_bytes(out, slot->before) < 0)
            return -1;
        int done = slot->write == NULL ? 0 : slot->write(slot, token, out);
        if (done < 0 || (done == 0 && write_called(slot, token, out) < 0))
            return -1;
    }
    return put_bytes(out, lines->tail);
}

static const struct {
    const char *name;
    Write write;
} KINDS[] = {
    {"", NULL},
    {"integer", write_integer},
    {"double", write_double},
    {"decimal", write_decimal},
    {"text", write_text},
    {"ascii", write_ascii},
    {"hex", write_hex},
};

static int set_slot(Slot *slot, PyObject *given, Py_ssize_t width)
{
    const char *kind;
    if (!PyTuple_Check(given))
        return odd("a slot is a tuple");
    if (!PyArg_ParseTuple(given, "nSSsO", &slot->at, &slot->before, &slot->null, &kind, &slot->literal)) {
        slot->before = slot->null = slot->literal = NULL;
        return -1;
    }
    Py_INCREF(slot->before);
    Py_INCREF(slot->null);
    Py_INCREF(slot->literal);
    if (slot->at < 0 || slot->at >= width)
        return odd("a slot of no column");
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (strcmp(kind, KINDS[i].name) == 0) {
            slot->write = KINDS[i].write;
            return 0;
        }
    return odd("a kind that is not known");
}

static PyObject *lines_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *given, *tail;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(args, "OSn", &given, &tail, &width))
        return NULL;
    PyObject *slots = PySequence_Tuple(given);
    Py_ssize_t count = slots == NULL ? 0 : PyTuple_GET_SIZE(slots);
    Lines *lines = slots == NULL ? NULL : (Lines *)type->tp_alloc(type, count);
    if (lines != NULL) {
        lines->tail = Py_NewRef(tail);
        lines->width = width;
    }
    for (Py_ssize_t i = 0; lines != NULL && i < count; i++)
        if (set_slot(&lines->slots[i], PyTuple_GET_ITEM(slots, i), width) < 0)
            Py_CLEAR(lines);
    Py_XDECREF(slots);
    return (PyObject *)lines;
}

static int lines_traverse(PyObject *self, visitproc visit, void *arg)
{
    Lines *lines = (Lines *)self;
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++)
        Py_VISIT(lines->slots[i].literal);
    return 0;
}

static void lines_dealloc(PyObject *self)
{
    Lines *lines = (Lines *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        Py_XDECREF(lines->slots[i].before);
        Py_XDECREF(lines->slots[i].null);
        Py_XDECREF(lines->slots[i].literal);
    }
    Py_XDECREF(lines->tail);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- rows ---- */

typedef struct {
    PyTypeObject *lines_type;
    const Rows *rows;       /* of the table of this step */
    PyObject *shapes;       /* mapping of its changed columns, a byte each, to Lines */
    Token *tokens;          /* of the row before, then of the one after, then which columns changed */
    Py_ssize_t width;       /* of the widest rows there is room for */
    uint8_t *changed;
    PyObject *last, *shape; /* the last of them, as bytes, and its Lines */
    Out out;                /* statements of this step, in log order */
    size_t *ends;           /* of the pairs, in `out` */
    size_t count, most;
    PyObject *inserts;      /* list of text, NULL where there are statements */
} Job;

/* Whether a column differs, as Python compares: 1, 0; -1 where equal values may be written in two ways. */
static int differs(const Token *one, const Token *other)
{
    if (one->type == other->type && one->size == other->size && memcmp(one->from, other->from, one->size) == 0)
        return 0;
    double first, second;
    if (one->type == REAL && other->type == REAL) {
        if (real(one, &first) < 0 || real(other, &second) < 0)
            return -1;
        return first == second ? odd("one double in two ways") : 1; /* 0.0 and -0.0 too */
    }
    if ((one->type == REAL && other->type == INTEGER) || (one->type == INTEGER && other->type == REAL))
        return odd("one number in two ways");
    return 1;
}

static int is_error_value(const Token *token)
{
    return token->type == REAL || (token->type == INTEGER && *token->from == '0');
}

/* The Lines of an update that changes what `changed` says; borrowed. */
static Lines *shape_of(Job *job)
{
    Py_ssize_t width = Py_SIZE(job->rows);
    if (job->last != NULL && memcmp(PyBytes_AS_STRING(job->last), job->changed, (size_t)width) == 0)
        return (Lines *)job->shape;
    Py_CLEAR(job->shape);
    Py_XSETREF(job->last, PyBytes_FromStringAndSize((const char *)job->changed, width));
    if (job->last == NULL || (job->shape = PyObject_GetItem(job->shapes, job->last)) == NULL) {
        Py_CLEAR(job->last);
        return NULL;
    }
    if (!Py_IS_TYPE(job->shape, job->lines_type) || ((Lines *)job->shape)->width != 2 * width) {
        Py_CLEAR(job->last);
        odd("expected Lines over two rows");
        return NULL;
    }
    return (Lines *)job->shape;
}

static int write_update(Job *job)
{
    Py_ssize_t width = Py_SIZE(job->rows);
    const Token *then = job->tokens, *now = then + width;
    for (Py_ssize_t i = 0; i < width; i++) {
        int flags = job->rows->flags[i], change = flags & WRITTEN ? differs(&now[i], &then[i]) : 0;
        if (change < 0)
            return -1;
        if (change && flags & ENUM && is_error_value(&then[i]))
            return odd("an enum's error value");
        job->changed[i] = (uint8_t)change;
    }
    Lines *lines = shape_of(job);
    return lines == NULL ? -1 : write_line(lines, then, &job->out);
}

static int write_insert(Job *job)
{
    for (Py_ssize_t i = 0; i < Py_SIZE(job->rows); i++)
        if ((job->rows->flags[i] & (WRITTEN | ENUM)) == (WRITTEN | ENUM) && is_error_value(&job->tokens[i]))
            return odd("an enum's error value");
    if (job->inserts == NULL && (job->inserts = PyList_New(0)) == NULL)
        return -1;
    job->out.size = 0;
    if (write_line(job->rows->values, job->tokens, &job->out) < 0)
        return -1;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)job->out.data, (Py_ssize_t)job->out.size, NULL);
    int done = text == NULL ? -1 : PyList_Append(job->inserts, text);
    Py_XDECREF(text);
    return done;
}

/* Write the undo of one pair of rows, before and after. */
static int write_pair(Job *job, Span *span)
{
    Token *tokens = job->tokens, *after = tokens + Py_SIZE(job->rows);
    if (expect(span, "[", 1) < 0)
        return -1;
    int then = scan_row(span, job->rows, tokens);
    if (then < 0 || expect(span, ",", 1) < 0)
        return -1;
    int now = scan_row(span, job->rows, after);
    if (now < 0 || expect(span, "]", 1) < 0)
        return -1;
    if (!now && !then)
        return odd("neither a row before nor one after");
    if (job->count != 0 && (job->inserts != NULL) != !now)
        return odd("rows to insert among others");
    if (!now)
        return write_insert(job);
    return then ? write_update(job) : write_line(job->rows->deletes, after, &job->out);
}

static int note_end(Job *job)
{
    if (job->count == job->most) {
        job->most = job->most * 2 + 64;
        size_t *ends = PyMem_Resize(job->ends, size_t, job->most);
        if (ends == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        job->ends = ends;
    }
    job->ends[job->count++] = job->out.size;
    return 0;
}

/* Write the pairs of a step; after them its line ends. */
static int write_pairs(Job *job, Span *span)
{
    job->out.size = job->count = 0;
    if (expect(span, "[", 1) < 0)
        return -1;
    do {
        if (write_pair(job, span) < 0 || note_end(job) < 0)
            return -1;
    } while (next_is(span, ',') && span->at++);
    if (expect(span, "]}", 2) < 0)
        return -1;
    return span->at == span->end ? 0 : odd("more than rows");
}

/* Put what was written, the last pair first. */
static int put_reversed(Job *job, Out *out)
{
    if (job->inserts != NULL)
        return PyList_Reverse(job->inserts);
    uint8_t *to = room(out, job->out.size);
    if (to == NULL)
        return -1;
    for (size_t i = job->count; i-- > 0;) {
        size_t from = i == 0 ? 0 : job->ends[i - 1], size = job->ends[i] - from;
        memcpy(to, job->out.data + from, size);
        to += size;
    }
    out->size += job->out.size;
    return 0;
}

/* Go on with the rows of this table: an item of `tables`. */
static int set_table(Job *job, PyObject *table, PyTypeObject *rows_type)
{
    if (!PyTuple_Check(table) || PyTuple_GET_SIZE(table) != 2 || !Py_IS_TYPE(PyTuple_GET_ITEM(table, 0), rows_type))
        return odd("no rows for compiled code");
    const Rows *rows = (const Rows *)PyTuple_GET_ITEM(table, 0);
    if (rows == job->rows)
        return 0;
    Py_ssize_t width = Py_SIZE(rows);
    if (width > job->width) {
        Token *tokens = PyMem_Realloc(job->tokens, (size_t)width * (2 * sizeof(Token) + 1));
        if (tokens == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        job->tokens = tokens;
        job->width = width;
    }
    job->changed = (uint8_t *)(job->tokens + 2 * width);
    job->rows = rows;
    job->shapes = PyTuple_GET_ITEM(table, 1);
    Py_CLEAR(job->last);
    Py_CLEAR(job->shape);
    return 0;
}

/* ---- steps ---- */

typedef struct {
    PyObject *data, *places, *transactions, *tables;
    PyObject *begun; /* the beginning of the current transaction; owned */
    Py_ssize_t left, count, table; /* steps; transactions; the last step's */
    Out out;
} Steps;

/* A number in the head of a step: the index of one of these items; borrowed, NULL with an error. */
static PyObject *scan_item(Span *span, PyObject *items, Py_ssize_t *at)
{
    Token token;
    long long number;
    if (span->at >= span->end || scan_number(span, &token) < 0)
        number = -1;
    else {
        number = token.type != INTEGER || token.size > 9 || *token.from == '-' ? -1 : 0;
        for (size_t i = 0; number >= 0 && i < token.size; i++)
            number = number * 10 + (token.from[i] - '0');
    }
    *at = (Py_ssize_t)number;
    if (number >= 0 && number < PyTuple_GET_SIZE(items))
        return PyTuple_GET_ITEM(items, *at);
    odd("a number of nothing");
    return NULL;
}

static int begin(Steps *steps, PyObject *beginning)
{
    if (!PyBytes_Check(beginning))
        return odd("a transaction that is not plain");
    Py_ssize_t size = PyBytes_GET_SIZE(beginning);
    if (beginning == steps->begun || (size == PyBytes_GET_SIZE(steps->begun) &&
                                      memcmp(PyBytes_AS_STRING(beginning), PyBytes_AS_STRING(steps->begun), (size_t)size) == 0))
        return 0;
    if (PyBytes_GET_SIZE(steps->begun) != 0 && put(&steps->out, "COMMIT;\n", 8) < 0)
        return -1;
    if (put_bytes(&steps->out, beginning) < 0)
        return -1;
    Py_SETREF(steps->begun, Py_NewRef(beginning));
    steps->count++;
    return 0;
}

/* Write the last step that is left. With an error, nothing of it is written. */
static int write_step(Steps *steps, Job *job, PyTypeObject *rows_type)
{
    Py_ssize_t start = PyLong_AsSsize_t(PyTuple_GET_ITEM(steps->places, 2 * steps->left - 2));
    Py_ssize_t end = PyLong_AsSsize_t(PyTuple_GET_ITEM(steps->places, 2 * steps->left - 1));
    if (PyErr_Occurred())
        return -1;
    if (start < 0 || start > end || end > PyBytes_GET_SIZE(steps->data))
        return odd("a step outside of its data");
    const uint8_t *data = (const uint8_t *)PyBytes_AS_STRING(steps->data);
    Span span = {data + start, data + end};
    Token position;
    PyObject *transaction, *table;
    Py_ssize_t number;
    if (expect(&span, "{\"at\":", 6) < 0 || !next_is(&span, '"') || scan_text(&span, &position) < 0 || expect(&span, ",\"in\":", 6) < 0)
        return odd("not a step");
    if ((transaction = scan_item(&span, steps->transactions, &number)) == NULL || expect(&span, ",\"of\":", 6) < 0)
        return -1;
    if ((table = scan_item(&span, steps->tables, &steps->table)) == NULL || expect(&span, ",\"rows\":", 8) < 0)
        return -1;
    if (set_table(job, table, rows_type) < 0 || write_pairs(job, &span) < 0 || begin(steps, transaction) < 0)
        return -1;
    return put_reversed(job, &steps->out);
}

/* Whether an error only says that Python has to judge. */
static int for_python(void)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
        return 0;
    PyErr_Clear();
    return 1;
}

/* 1: all that was asked for is written; 0: Python has to write the last step that is left; -1: an error is set. */
static int write_steps(Steps *steps, Job *job, PyTypeObject *rows_type)
{
    while (steps->left > 0 && steps->out.size < PIECE && job->inserts == NULL) {
        if (write_step(steps, job, rows_type) < 0) {
            Py_CLEAR(job->inserts);
            return for_python() ? 0 : -1;
        }
        steps->left--;
    }
    return 1;
}

PyDoc_STRVAR(undo_doc,
             "undo(data, places, left, transactions, tables, begun): the undo of some of the steps of a segment, the last one first.\n\n"
             "data: the segment. places: where its steps begin and end, by turns. left: how many of them. transactions: what stands at the\n"
             "beginning of each. tables: (Rows, shapes) of each, or something else where Python has to write them; shapes: mapping of\n"
             "changed columns, a byte each, to the Lines of their updates, over rows before and after. begun: the beginning of the\n"
             "current transaction, empty where there is none.\n\n"
             "Returns what was written, how many steps are left, `begun`, how many transactions began, the rows of the step before those\n"
             "left where they are to be inserted, as text, else None, the number of their table, and whether Python has to write the last\n"
             "step that is left.");

static PyObject *sql_undo(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    Steps steps = {0};
    Job job = {.lines_type = state->lines_type};
    if (!PyArg_ParseTuple(args, "SO!nO!O!S", &steps.data, &PyTuple_Type, &steps.places, &steps.left, &PyTuple_Type, &steps.transactions,
                          &PyTuple_Type, &steps.tables, &steps.begun))
        return NULL;
    if (steps.left < 0 || steps.left > PyTuple_GET_SIZE(steps.places) / 2) {
        odd("more steps than places");
        return NULL;
    }
    Py_INCREF(steps.begun);
    PyObject *made = NULL;
    int done = write_steps(&steps, &job, state->rows_type);
    if (done >= 0)
        made = Py_BuildValue("y#nOnOnO", steps.out.data == NULL ? "" : (char *)steps.out.data, (Py_ssize_t)steps.out.size, steps.left,
                             steps.begun, steps.count, job.inserts == NULL ? Py_None : job.inserts, steps.table, done ? Py_False : Py_True);
    PyMem_Free(job.tokens);
    PyMem_Free(job.out.data);
    PyMem_Free(job.ends);
    PyMem_Free(steps.out.data);
    Py_XDECREF(job.last);
    Py_XDECREF(job.shape);
    Py_XDECREF(job.inserts);
    Py_DECREF(steps.begun);
    return made;
}

static PyObject *rows_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    State *state = PyType_GetModuleState(type);
    const char *flags;
    Py_ssize_t width;
    Lines *deletes, *values;
    if (state == NULL || !PyArg_ParseTuple(args, "y#O!O!", &flags, &width, state->lines_type, &deletes, state->lines_type, &values))
        return NULL;
    if (width == 0 || deletes->width != width || values->width != width) {
        odd("lines of another width");
        return NULL;
    }
    Rows *rows = (Rows *)type->tp_alloc(type, width);
    if (rows != NULL) {
        rows->deletes = (Lines *)Py_NewRef(deletes);
        rows->values = (Lines *)Py_NewRef(values);
        memcpy(rows->flags, flags, (size_t)width);
    }
    return (PyObject *)rows;
}

static int rows_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Rows *)self)->deletes);
    Py_VISIT(((Rows *)self)->values);
    return 0;
}

static void rows_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((Rows *)self)->deletes);
    Py_XDECREF(((Rows *)self)->values);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- the module ---- */

static PyType_Slot lines_slots[] = {
    {Py_tp_doc, "Lines(slots, tail, width): what is written around the values of a row of `width` values, and behind the last.\n\n"
                "slots: list of (index of the value, bytes before it, bytes where it is NULL, kind, literal)."},
    {Py_tp_new, lines_new},
    {Py_tp_traverse, lines_traverse},
    {Py_tp_dealloc, lines_dealloc},
    {0, NULL},
};

static PyType_Spec lines_spec = {
    .name = "dblog_tasks.mysql._sql.Lines",
    .basicsize = sizeof(Lines),
    .itemsize = sizeof(Slot),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lines_slots,
};

static PyType_Slot rows_slots[] = {
    {Py_tp_doc, "Rows(flags, deletes, values): the rows of one table; flags: a byte a column: 1 binary, 2 written, 4 enum."},
    {Py_tp_new, rows_new},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_dealloc, rows_dealloc},
    {0, NULL},
};

static PyType_Spec rows_spec = {
    .name = "dblog_tasks.mysql._sql.Rows",
    .basicsize = sizeof(Rows),
    .itemsize = sizeof(uint8_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = rows_slots,
};

static PyMethodDef methods[] = {
    {"undo", sql_undo, METH_VARARGS, undo_doc},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    fill_tables();
    state->lines_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &lines_spec, NULL);
    state->rows_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &rows_spec, NULL);
    if (state->lines_type == NULL || state->rows_type == NULL || PyModule_AddType(module, state->lines_type) < 0)
        return -1;
    return PyModule_AddType(module, state->rows_type);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(((State *)PyModule_GetState(module))->lines_type);
    Py_VISIT(((State *)PyModule_GetState(module))->rows_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    Py_CLEAR(((State *)PyModule_GetState(module))->lines_type);
    Py_CLEAR(((State *)PyModule_GetState(module))->rows_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_sql",
    .m_doc = "Rows of a plan as statements of SQL, compiled: see `sql`.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__sql(void)
{
    return PyModuleDef_Init(&definition);
}
