/* Checksums and event headers: what `binlog.frames` does for whole and plain events, and the count of `binlog.HeaderCount`.

Law: an event that is not whole, not plain or wrong is left to `binlog.frames`, which says what it is. The count of headers shares
nothing with the frames but the width of a header: one is held against the other. */

#include "_native.h"

/* ---- checksums: CRC-32 as zlib has it, reflected, polynomial 0xEDB88320 ---- */

static uint32_t CRC_TABLE[8][256];

static void fill_tables(void)
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

void prepare_checksums(void)
{
    fill_tables();
    FOLDING = can_fold();
}

static uint32_t checksum(const uint8_t *at, size_t size)
{
    return ~(FOLDING && size >= 64 ? crc_folded : crc_tables)(UINT32_MAX, at, size);
}

const char crc32_doc[] = "crc32(data, folding=True): the CRC-32 of data, for tests; folding False: without carry-less multiplication.";

PyObject *native_crc32(PyObject *module, PyObject *args)
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

enum { CRC_SIZE = 4, EVENT_SIZE_MAX = (1 << 30) + (1 << 20) };
enum { FORMAT_DESCRIPTION = 15, START_ENCRYPTION = 164, PLACELESS = 0x40 | 0x20 };

/* Look at what was given of a hop; -1 with an error. */
int open_hop(Hop *hop, uint64_t base)
{
    hop->data = (const uint8_t *)PyBytes_AS_STRING(hop->block);
    hop->size = PyBytes_GET_SIZE(hop->block);
    hop->base = base;
    if (hop->at >= 0 && hop->at <= hop->size && (hop->summed == 0 || hop->summed == CRC_SIZE))
        return 0;
    odd("expected an offset in the block, and a checksum of 0 or 4 bytes");
    return -1;
}

/* The size of the event at `at`; 0 when it is not whole, or one for `binlog.frames` to judge. */
Py_ssize_t plain_event(const Hop *hop)
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

static PyObject *make_frame(PyTypeObject *type, const Hop *hop, Py_ssize_t size)
{
    const uint8_t *head = hop->data + hop->at;
    PyObject *frame = type->tp_alloc(type, 9);
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

const char frames_doc[] =
    "frames(make, block, at, base, checksum, placed, most, last): the whole events of a block from `at` on, list of `make`.\n\n"
    "make: `binlog.Frame`. base: offset in the file of the block. checksum: bytes of it at the end of each event, 0 or 4.\n"
    "placed: events say where they end in this file. most: how many at most; last: type of one to stop after, or -1. Stops before an\n"
    "event that is not whole, that is no plain one (format description, encryption), or whose size, checksum or place is wrong.";

PyObject *native_frames(PyObject *module, PyObject *args)
{
    Hop hop;
    PyTypeObject *type;
    Py_ssize_t most;
    int last;
    unsigned long long base;
    if (!PyArg_ParseTuple(args, "O!SnKipni", &PyType_Type, &type, &hop.block, &hop.at, &base, &hop.summed, &hop.placed, &most, &last))
        return NULL;
    if (!PyType_IsSubtype(type, &PyTuple_Type))
        return odd("expected a kind of tuple");
    PyObject *found = open_hop(&hop, base) < 0 ? NULL : PyList_New(0);
    for (Py_ssize_t size; found != NULL && most-- > 0 && (size = plain_event(&hop)) > 0;) {
        PyObject *frame = make_frame(type, &hop, size);
        if (frame == NULL || PyList_Append(found, frame) < 0)
            Py_CLEAR(found);
        Py_XDECREF(frame);
        if (hop.data[hop.at + 4] == last)
            break;
        hop.at += size;
    }
    return found;
}

/* ---- the count of headers ---- */

const char hops_doc[] = "hops(block, at, last): how many headers there are from `at` up to `last`, where the next one begins, and the last.\n\n"
                        "One that says an event smaller than a header ends the count. No header: the last is -1.";

PyObject *native_hops(PyObject *module, PyObject *args)
{
    PyObject *block;
    Py_ssize_t at, last, count = 0, found = -1;
    if (!PyArg_ParseTuple(args, "Snn", &block, &at, &last))
        return NULL;
    if (at < 0 || last > PyBytes_GET_SIZE(block) - 13)
        return odd("headers outside of their block");
    const uint8_t *data = (const uint8_t *)PyBytes_AS_STRING(block);
    while (at <= last) {
        Py_ssize_t size = (Py_ssize_t)little(data + at + 9, 4);
        if (size < HEADER_SIZE)
            break;
        found = at;
        at += size;
        count++;
    }
    return Py_BuildValue("nnn", count, at, found);
}
