/* What the files of the extension share: `_native.c` tells what it is for and what a reader of each name does. */

#ifndef DBLOG_NATIVE_H
#define DBLOG_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *at, *end;
} Span;

/* JSON being written: `object` is a bytes object with room up to `end`, filled up to `at`. */
typedef struct {
    PyObject *object;
    char *at, *end;
    int alone; /* the value at hand, when it is bytes, stands as base64 and nothing around it */
} Text;

typedef struct Column Column;
typedef PyObject *(*Decode)(Column *, Span *);
typedef int (*Write)(Column *, Span *, Text *);
typedef char *(*Print)(const Column *, const uint8_t *, char *);

struct Column {
    Decode decode; /* the next value as an object; NULL: not in the image */
    Write write;   /* the next value as JSON; -1 with an error */
    Print print;   /* its bytes as text of at most PRINTED_MAX characters; NULL when no server writes them */
    Py_ssize_t a, b, size; /* size: bytes of a value of fixed width */
    PyObject *object;
    uint64_t seen; /* bytes of the last temporal, and its text: neighbours are often of one second */
    PyObject *text;
};

/* Events of a block, one after the other. */
typedef struct {
    PyObject *block;
    const uint8_t *data;
    Py_ssize_t size, at;
    uint64_t base; /* offset in the file of the block */
    int summed, placed;
} Hop;

enum { HEADER_SIZE = 19 };

enum { PRINTED_MAX = 72 }; /* a DECIMAL: a sign, a zero, 65 digits and a point */

typedef struct {
    PyObject_VAR_HEAD
    Py_ssize_t bitmap; /* bytes of it */
    Column columns[];
} Reader;

static inline PyObject *odd(const char *what)
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
/* The bytes of the next value of fixed width. */
static inline const uint8_t *take_fixed(Column *column, Span *span)
{
    return take(span, (size_t)column->size);
}

#ifdef __GNUC__
#pragma GCC visibility push(hidden) /* no other library's function of the same name takes their place */
#endif

/* _native_values.c: values as objects, and the texts of those that are text to a plan. */
int set_column(Column *column, PyObject *given);
char *print_instant(char *out, uint64_t microseconds);
int all_ascii(const uint8_t *at, size_t size);
PyObject *called(PyObject *function, const uint8_t *at, size_t size);

/* _native_json.c: values as JSON. */
int write_signed(Column *, Span *, Text *);
int write_unsigned(Column *, Span *, Text *);
int write_big(Column *, Span *, Text *);
int write_real(Column *, Span *, Text *);
int write_year(Column *, Span *, Text *);
int write_printed(Column *, Span *, Text *);
int write_bytes(Column *, Span *, Text *);
int write_utf8(Column *, Span *, Text *);
int write_ascii(Column *, Span *, Text *);
int write_decoded(Column *, Span *, Text *);
char *print_number(char *out, uint64_t number);
int open_text(Text *text, size_t size);
int put_bytes(Text *text, const void *from, size_t size);
int put_number(Text *text, int negative, uint64_t number);
int put_text(Text *text, const uint8_t *at, size_t size, size_t widest);
Py_ssize_t put_rows(Text *text, const Reader *before, const Reader *after, const char *alone, Span *span);
PyObject *json_rows(const Reader *before, const Reader *after, const char *alone, Span *span);

/* _native_frames.c: checksums and event headers. */
void prepare_checksums(void);
PyObject *native_crc32(PyObject *module, PyObject *args);
PyObject *native_frames(PyObject *module, PyObject *args);
PyObject *native_hops(PyObject *module, PyObject *args);
int open_hop(Hop *hop, uint64_t base);
Py_ssize_t plain_event(const Hop *hop);
extern const char crc32_doc[], frames_doc[], hops_doc[];

/* _native_plain.c: whole transactions as lines of a plan. */
PyObject *native_plain(PyObject *module, PyObject *args);
extern const char plain_doc[];

/* _native.c */
PyTypeObject *reader_type_of(PyObject *module);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#endif
