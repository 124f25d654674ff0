/* Whole plain transactions as lines of a plan: what `transactions`, `decoder` and `part` make of them, without an object for each event.

Law: the lines are those of `part.PartWriter`, byte for byte, and what is counted is what these modules count. A transaction is plain when
it is whole in the block and is nothing but

    GTID or ANONYMOUS_GTID, QUERY BEGIN     MySQL
    GTID, neither standalone nor XA         MariaDB
    ROWS_QUERY or ANNOTATE_ROWS             any number
    TABLE_MAP, rows of versions 1 and 2     any number, of layouts and heads that are known, all wanted or none
    XID                                     the end

Before any other the run ends: Python judges it. The last wanted transaction of a run, and what follows it, is taken back for Python to do:
how far reading has got and which transaction is being written is noted by it alone, and is then right whatever comes next. */

#include "_native.h"

#include <stddef.h>

enum { QUERY = 2, XID = 16, TABLE_MAP = 19, ROWS_QUERY = 29, GTID = 33, ANONYMOUS_GTID = 34, ANNOTATE_ROWS = 160, MARIADB_GTID = 162 };
enum { MAPS_MAX = 32, STATEMENTS_MAX = 3, STATEMENT_MAX = 400, GTID_MAX = 64, ROWS_HEAD = 8, SEEN_MAX = 16 };
enum { CARRIED = 2 | 16, CARRIED_MASK = CARRIED | 1 }; /* flags of rows that a foreign key took along, see images.py */
enum { STANDALONE = 1, GROUP_COMMIT = 2, PREPARED = 64, COMPLETED = 128 };             /* flags of a MariaDB GTID */
enum { MORE_ENGINES = 1, START_ALTER = 4, END_ALTER = 8, HAS_THREAD = 16 };            /* and its further ones */
static const uint64_t TIME_FLAG = 1ULL << 55; /* of a commit: its origin's follows */

/* A rows event. */
typedef struct {
    Span rows;
    uint64_t end;
    const Reader *before, *after;
    PyObject *alone;
    Py_ssize_t slot, of, count;
} Change;

/* How far a run got; `kept` is that many changes. */
typedef struct {
    Py_ssize_t at, text, kept, transactions, structure;
    uint64_t earliest, latest;
} Mark;

/* A table map as a log names it again and again: its body, and what is known of it. */
typedef struct {
    Span body;
    PyObject *kept, *kinds;
} Seen;

typedef struct {
    Hop hop;
    Seen seen[SEEN_MAX]; /* by table id; all of it lives in `known` and in the block */
    const char *file; /* the beginning of a position in JSON, colon included */
    Py_ssize_t file_size;
    PyObject *name, *known, *maps, *numbers, *transactions, *missing;
    PyTypeObject *reader_type;
    Py_ssize_t size_max, rows_max, maps_max, room;
    Change *changes;
    Text text;
} Run;

/* The transaction at hand. */
typedef struct {
    char gtid[GTID_MAX];
    size_t gtid_size;
    uint64_t start, end, time, xid, thread;
    int begun, statements;
    Span said[STATEMENTS_MAX];
    int map_count;
    Py_ssize_t events, first, changes, wanted;
    struct {
        const uint8_t *id;
        PyObject *body, *kinds;
    } maps[MAPS_MAX]; /* from here on not cleared: `map_count` of them are told */
} Plain;

/* ---- what the events around the rows say; 0 when it is not plain ---- */

static size_t print_uuid(char *out, const uint8_t *at)
{
    static const char HEX[] = "0123456789abcdef";
    char *to = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = HEX[at[i] >> 4];
        *to++ = HEX[at[i] & 15];
    }
    return (size_t)(to - out);
}

/* Whether a length-encoded integer is there, as `lengths.read_length` has it. */
static int whole_length(const uint8_t *at, size_t size)
{
    size_t width = at[0] < 251 ? 0 : at[0] == 252 ? 2 : at[0] == 253 ? 3 : at[0] == 254 ? 8 : SIZE_MAX / 2;
    return size - 1 >= width;
}

static int mysql_gtid(Plain *plain, Span body, int anonymous)
{
    size_t size = (size_t)(body.end - body.at);
    if (size < 25 || body.at[24] & 0x80)
        return 0;
    if (size >= 49 && body.at[25] == 2) {
        plain->time = little(body.at + 42, 7);
        size_t at = plain->time & TIME_FLAG ? 56 : 49;
        if (at < size && !whole_length(body.at + at, size - at))
            return 0;
        plain->time &= ~TIME_FLAG;
    }
    if (anonymous)
        return 1;
    plain->gtid_size = print_uuid(plain->gtid, body.at + 1);
    plain->gtid[plain->gtid_size++] = ':';
    plain->gtid_size = (size_t)(print_number(plain->gtid + plain->gtid_size, little(body.at + 17, 8)) - plain->gtid);
    return 1;
}

static int mariadb_gtid(Plain *plain, Span body, uint64_t server)
{
    Span span = body;
    if (span.end - span.at < 13)
        return 0;
    uint64_t sequence = little(span.at, 8), domain = little(span.at + 8, 4);
    uint8_t flags = span.at[12];
    span.at += 13;
    if (flags & (STANDALONE | PREPARED | COMPLETED))
        return 0;
    if (flags & GROUP_COMMIT) {
        if (span.end - span.at < 8)
            return 0;
        span.at += 8;
    }
    if (span.at < span.end) {
        uint8_t extra = *span.at++;
        if (extra & (MORE_ENGINES | START_ALTER | END_ALTER))
            return 0;
        if (extra & HAS_THREAD) {
            if (span.end - span.at < 4)
                return 0;
            plain->thread = little(span.at, 4);
        }
    }
    char *out = print_number(plain->gtid, domain);
    *out++ = '-';
    out = print_number(out, server);
    *out++ = '-';
    plain->gtid_size = (size_t)(print_number(out, sequence) - plain->gtid);
    return plain->begun = 1;
}

static int begin(Plain *plain, Span body)
{
    size_t size = (size_t)(body.end - body.at);
    if (plain->begun || size < 13)
        return 0;
    size_t schema = body.at[8], at = 13 + schema + (size_t)little(body.at + 11, 2);
    if (at >= size || body.at[at] != 0 || size - at - 1 != 5 || memcmp(body.at + at + 1, "BEGIN", 5) != 0)
        return 0;
    plain->thread = plain->thread ? plain->thread : little(body.at, 4);
    return plain->begun = 1;
}

static int say(Plain *plain, Span body, int sized)
{
    size_t size = (size_t)(body.end - body.at);
    if (sized && size > 0 && body.at[0] == (size - 1 < 255 ? size - 1 : 255)) {
        body.at++;
        size--;
    }
    if (plain->statements == STATEMENTS_MAX)
        return 1;
    size = size > STATEMENT_MAX ? STATEMENT_MAX : size;
    for (int i = 0; i < plain->statements; i++)
        if ((size_t)(plain->said[i].end - plain->said[i].at) == size && memcmp(plain->said[i].at, body.at, size) == 0)
            return 1;
    plain->said[plain->statements++] = (Span){body.at, body.at + size};
    return 1;
}

/* ---- table maps and rows; 0 when they are not plain, or not known, -1 with an error ---- */

static int miss(Run *run, PyObject *body, int kind)
{
    run->missing = Py_BuildValue("Oi", body, kind);
    return run->missing == NULL ? -1 : 0;
}

/* Look a table map up, and note the layout of its id. */
static int look_up(Run *run, Seen *seen, Span body)
{
    PyObject *key = PyBytes_FromStringAndSize((const char *)body.at + 8, body.end - body.at - 8), *id = NULL;
    if (key == NULL)
        return -1;
    PyObject *found = PyDict_GetItemWithError(run->known, key);
    int done = found != NULL ? 1 : PyErr_Occurred() ? -1 : miss(run, key, 0);
    if (done == 1) {
        PyObject *layout;
        id = PyBytes_FromStringAndSize((const char *)body.at, 6);
        if (id == NULL || !PyArg_ParseTuple(found, "OO!O!", &layout, &PyBytes_Type, &seen->kept, &PyDict_Type, &seen->kinds) ||
            PyDict_SetItem(run->maps, id, layout) < 0)
            done = -1;
        else
            seen->body = body;
    }
    Py_XDECREF(id);
    Py_DECREF(key);
    return done;
}

static int table_map(Run *run, Plain *plain, Span body)
{
    size_t size = (size_t)(body.end - body.at);
    if (size < 8 || plain->map_count == MAPS_MAX)
        return 0;
    Seen *seen = &run->seen[body.at[0] % SEEN_MAX];
    if (seen->body.at == NULL || (size_t)(seen->body.end - seen->body.at) != size || memcmp(seen->body.at, body.at, size) != 0) {
        int done = look_up(run, seen, body);
        if (done != 1)
            return done;
    }
    plain->maps[plain->map_count].id = body.at;
    plain->maps[plain->map_count].body = seen->kept;
    plain->maps[plain->map_count++].kinds = seen->kinds;
    return 1;
}

static Change *next_change(Run *run, Plain *plain)
{
    Py_ssize_t at = plain->first + plain->changes;
    if (at == run->room) {
        Py_ssize_t room = run->room * 2 + 64;
        Change *more = PyMem_Realloc(run->changes, (size_t)room * sizeof(Change));
        if (more == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        run->changes = more;
        run->room = room;
    }
    return &run->changes[at];
}

/* Find out how the rows are read, and how the segment calls their table. */
static int wanted_rows(Run *run, Change *change, PyObject *entry, Span body)
{
    PyObject *before, *after, *table, *head;
    if (!PyArg_ParseTuple(entry, "nO!OOO!O", &change->slot, &PyBytes_Type, &head, &before, &after, &PyBytes_Type, &change->alone, &table))
        return -1;
    if ((before != Py_None && !Py_IS_TYPE(before, run->reader_type)) || (after != Py_None && !Py_IS_TYPE(after, run->reader_type)))
        return odd("expected a Reader or None"), -1;
    change->before = before == Py_None ? NULL : (Reader *)before;
    change->after = after == Py_None ? NULL : (Reader *)after;
    Py_ssize_t columns = PyBytes_GET_SIZE(change->alone), size = PyBytes_GET_SIZE(head);
    if (!(change->before || change->after) || (change->before && Py_SIZE(before) != columns) || (change->after && Py_SIZE(after) != columns))
        return odd("expected a Reader, and a byte for each of its columns"), -1;
    if (body.end - body.at - ROWS_HEAD < size || memcmp(body.at + ROWS_HEAD, PyBytes_AS_STRING(head), (size_t)size) != 0)
        return 0;
    PyObject *number = PyDict_GetItemWithError(run->numbers, table);
    if (number == NULL)
        return PyErr_Occurred() ? -1 : 0;
    change->of = PyLong_AsSsize_t(number);
    change->rows = (Span){body.at + ROWS_HEAD + size, body.end};
    return change->of < 0 ? -1 : 1;
}

static int rows_event(Run *run, Plain *plain, Span body, int kind, uint64_t end)
{
    int map = plain->map_count - 1;
    if (body.end - body.at < ROWS_HEAD || (kind >= 30 && (body.at[6] & CARRIED_MASK) == CARRIED))
        return 0;
    while (map >= 0 && memcmp(plain->maps[map].id, body.at, 6) != 0)
        map--;
    Change *change = map < 0 ? NULL : next_change(run, plain);
    PyObject *number = change == NULL ? NULL : PyLong_FromLong(kind);
    if (number == NULL)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *entry = PyDict_GetItemWithError(plain->maps[map].kinds, number);
    Py_DECREF(number);
    if (entry == NULL)
        return PyErr_Occurred() ? -1 : miss(run, plain->maps[map].body, kind);
    *change = (Change){.end = end};
    int done = 1;
    if (!PyTuple_CheckExact(entry) || PyTuple_GET_SIZE(entry) != 1)
        done = wanted_rows(run, change, entry, body);
    else if ((change->slot = PyLong_AsSsize_t(PyTuple_GET_ITEM(entry, 0))) < 0)
        done = PyErr_Occurred() ? -1 : 0;
    if (done == 1) {
        plain->changes++;
        plain->wanted += change->rows.at != NULL;
    }
    return done;
}

/* ---- one transaction ---- */

/* Take in an event; 2 when it is the last one. */
static int take_event(Run *run, Plain *plain, const uint8_t *head, Py_ssize_t size)
{
    Span body = {head + HEADER_SIZE, head + size - run->hop.summed};
    int kind = head[4];
    if (!plain->begun)
        return kind == QUERY ? begin(plain, body) : 0;
    switch (kind) {
    case ROWS_QUERY:
    case ANNOTATE_ROWS:
        return say(plain, body, kind == ROWS_QUERY);
    case TABLE_MAP:
        return table_map(run, plain, body);
    case 23: case 24: case 25: case 30: case 31: case 32:
        return rows_event(run, plain, body, kind, plain->end);
    case XID:
        if (body.end - body.at < 8 || plain->changes == 0 || (plain->wanted != 0 && plain->wanted != plain->changes))
            return 0;
        plain->xid = little(body.at, 8);
        plain->time = plain->time ? plain->time : little(head, 4) * 1000000;
        return 2;
    default:
        return 0;
    }
}

/* Go through the transaction at hand: 1 when it is plain, and the hop is then behind it. */
static int find_plain(Run *run, Plain *plain)
{
    Hop *hop = &run->hop;
    Py_ssize_t size = plain_event(hop);
    if (size == 0)
        return 0;
    const uint8_t *head = hop->data + hop->at;
    Span body = {head + HEADER_SIZE, head + size - hop->summed};
    plain->start = hop->base + (uint64_t)hop->at;
    int kind = head[4], done = kind == GTID || kind == ANONYMOUS_GTID ? mysql_gtid(plain, body, kind == ANONYMOUS_GTID)
                               : kind == MARIADB_GTID                 ? mariadb_gtid(plain, body, little(head + 5, 4))
                                                                      : 0;
    while (done == 1) {
        hop->at += size;
        plain->events++;
        plain->end = hop->base + (uint64_t)hop->at;
        if ((size = plain_event(hop)) == 0)
            return 0;
        plain->end += (uint64_t)size;
        done = take_event(run, plain, hop->data + hop->at, size);
    }
    if (done != 2)
        return done;
    hop->at += size;
    plain->events++;
    return 1;
}

/* ---- its lines ---- */

static inline int put_literal(Text *text, const char *from)
{
    return put_bytes(text, from, strlen(from));
}

static int put_place(Run *run, const char *before, uint64_t offset)
{
    Text *text = &run->text;
    if (put_literal(text, before) < 0 || put_bytes(text, run->file, (size_t)run->file_size) < 0)
        return -1;
    return put_number(text, 0, offset) < 0 ? -1 : put_literal(text, "\"");
}

static int put_named(Text *text, const char *before, uint64_t number)
{
    return put_literal(text, before) < 0 ? -1 : put_number(text, 0, number);
}

static int put_names(Run *run, const Plain *plain)
{
    Text *text = &run->text;
    if (plain->gtid_size && (put_literal(text, "\"") < 0 || put_bytes(text, plain->gtid, plain->gtid_size) < 0 || put_literal(text, "\",") < 0))
        return -1;
    if (put_place(run, "", plain->start) < 0)
        return -1;
    return plain->xid == 0 ? 0 : put_named(text, ",\"", plain->xid) < 0 ? -1 : put_literal(text, "\"");
}

static int put_id(Run *run, const Plain *plain)
{
    Text *text = &run->text;
    if (!plain->gtid_size)
        return put_place(run, ",\"id\":", plain->start);
    return put_literal(text, ",\"id\":\"") < 0 || put_bytes(text, plain->gtid, plain->gtid_size) < 0 ? -1 : put_literal(text, "\"");
}

/* The line of the transaction: 0 when a text of a statement is not UTF-8. */
static int put_transaction(Run *run, const Plain *plain, Py_ssize_t number)
{
    Text *text = &run->text;
    char time[PRINTED_MAX];
    size_t time_size = (size_t)(print_instant(time, plain->time) - time);
    if (put_named(text, "{\"transaction\":", (uint64_t)number) < 0 || put_id(run, plain) < 0)
        return -1;
    if (put_place(run, ",\"start\":", plain->start) < 0 || put_place(run, ",\"end\":", plain->end) < 0)
        return -1;
    if (put_literal(text, ",\"time\":\"") < 0 || put_bytes(text, time, time_size) < 0 || put_literal(text, "\",\"names\":[") < 0)
        return -1;
    if (put_names(run, plain) < 0 || put_named(text, "],\"thread\":", plain->thread) < 0 || put_literal(text, ",\"statements\":[") < 0)
        return -1;
    for (int i = 0; i < plain->statements; i++) {
        const Span *said = &plain->said[i];
        if (i && put_literal(text, ",") < 0)
            return -1;
        int wrong = put_text(text, said->at, (size_t)(said->end - said->at), 4);
        if (wrong)
            return wrong < 0 ? -1 : 0;
    }
    return put_literal(text, "],\"also_touched\":[]}\n") < 0 ? -1 : 1;
}

/* The line of a rows event; its number of rows, or -1. */
static Py_ssize_t put_step(Run *run, const Change *change, Py_ssize_t number)
{
    Text *text = &run->text;
    if (put_place(run, "{\"at\":", change->end) < 0 || put_named(text, ",\"in\":", (uint64_t)number) < 0)
        return -1;
    if (put_named(text, ",\"of\":", (uint64_t)change->of) < 0 || put_literal(text, ",\"rows\":") < 0)
        return -1;
    Span span = change->rows;
    Py_ssize_t count = put_rows(text, change->before, change->after, PyBytes_AS_STRING(change->alone), &span);
    return count < 0 || put_literal(text, "}\n") < 0 ? -1 : count;
}

static Py_ssize_t filled(const Run *run)
{
    return run->text.at - PyBytes_AS_STRING(run->text.object);
}

/* Write a transaction whose events are wanted; 0 when that is for Python to do. */
static int write_plain(Run *run, Plain *plain, PyObject *id)
{
    Py_ssize_t number = PyDict_GET_SIZE(run->transactions), rows = 0;
    int done = PyDict_Contains(run->transactions, id);
    if (done != 0 || (done = put_transaction(run, plain, number)) != 1)
        return done < 0 ? -1 : 0;
    for (Py_ssize_t i = plain->first; i < plain->first + plain->changes; i++) {
        Py_ssize_t count = put_step(run, &run->changes[i], number);
        if (count < 0)
            return -1;
        run->changes[i].count = count;
        rows += count;
    }
    if (rows > run->rows_max || filled(run) >= run->size_max)
        return 0;
    PyObject *given = PyLong_FromSsize_t(number);
    done = given == NULL ? -1 : PyDict_SetItem(run->transactions, id, given);
    Py_XDECREF(given);
    return done < 0 ? -1 : 1;
}

/* ---- the run ---- */

/* Write the transactions, and have `held` tell what is before the last one that is wanted; where none is, before the last one. */
static int write_all(Run *run, Mark *held)
{
    Mark mark = *held;
    PyObject *last = NULL; /* id of the last one that is wanted */
    int done = 1;
    while (PyDict_GET_SIZE(run->maps) < run->maps_max) {
        Plain plain;
        memset(&plain, 0, offsetof(Plain, maps));
        plain.first = mark.kept;
        PyObject *id = NULL;
        if ((done = find_plain(run, &plain)) == 1 && plain.wanted) {
            id = plain.gtid_size ? PyUnicode_FromStringAndSize(plain.gtid, (Py_ssize_t)plain.gtid_size)
                                 : PyUnicode_FromFormat("%U:%llu", run->name, (unsigned long long)plain.start);
            done = id == NULL ? -1 : write_plain(run, &plain, id);
        }
        if (done != 1) {
            Py_XDECREF(id);
            break;
        }
        if (plain.wanted || last == NULL)
            *held = mark;
        if (plain.wanted)
            Py_XSETREF(last, id);
        mark.at = run->hop.at;
        mark.text = filled(run);
        mark.kept += plain.changes;
        mark.transactions += plain.wanted != 0;
        mark.structure += plain.events - plain.changes;
        mark.earliest = plain.time < mark.earliest ? plain.time : mark.earliest;
        mark.latest = plain.time > mark.latest ? plain.time : mark.latest;
    }
    if (done < 0 && PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear(); /* Python does it again and says what is wrong */
        done = 0;
    }
    if (last != NULL && done >= 0 && PyDict_DelItem(run->transactions, last) < 0)
        done = -1;
    Py_XDECREF(last);
    return done;
}

/* Add up the changes: list of (slot, events, rows). */
static PyObject *counted(const Run *run, Py_ssize_t kept)
{
    PyObject *found = PyList_New(0);
    for (Py_ssize_t i = 0; found != NULL && i < kept; i++) {
        Change *first = &run->changes[i];
        if (first->slot < 0)
            continue;
        Py_ssize_t events = 0, rows = 0, slot = first->slot;
        for (Py_ssize_t j = i; j < kept; j++)
            if (run->changes[j].slot == slot) {
                events++;
                rows += run->changes[j].count;
                run->changes[j].slot = -1;
            }
        PyObject *one = Py_BuildValue("nnn", slot, events, rows);
        if (one == NULL || PyList_Append(found, one) < 0)
            Py_CLEAR(found);
        Py_XDECREF(one);
    }
    return found;
}

static PyObject *result(Run *run, const Mark *held)
{
    PyObject *changes = counted(run, held->kept);
    if (changes == NULL || _PyBytes_Resize(&run->text.object, held->text) < 0) {
        Py_XDECREF(changes);
        return NULL;
    }
    PyObject *lines = run->text.object, *missing = run->missing == NULL ? Py_NewRef(Py_None) : Py_NewRef(run->missing);
    run->text.object = NULL;
    unsigned long long earliest = held->earliest, latest = held->latest;
    return Py_BuildValue("nNnNnKKN", held->at, lines, held->transactions, changes, held->structure, earliest, latest, missing);
}

const char plain_doc[] =
    "plain(block, at, base, checksum, placed, name, file, known, maps, numbers, transactions, size, rows, tables): whole plain\n"
    "transactions from `at` on as lines of a plan: (where the next one begins, lines, transactions in them, list of (slot, events,\n"
    "rows), events of structure, earliest and latest commit in microseconds, what is missing or None).\n\n"
    "base, checksum, placed: as in `frames`. name: of the file; file: the same in JSON, the beginning of a position.\n"
    "known: by body of a table map (layout, body, entries by type of event): (slot,) of rows that are not wanted, else\n"
    "(slot, head, before, after, alone, table). Missing is the body and type without such, 0 for the body itself.\n"
    "maps: layout by table id, is added to. numbers: of tables in the segment. transactions: numbers by id in the segment, is added to.\n"
    "size: bytes that the lines are to stay below. rows: of a transaction at most. tables: how many `maps` may hold.";

PyObject *native_plain(PyObject *module, PyObject *args)
{
    Run run = {.reader_type = reader_type_of(module)};
    unsigned long long base;
    if (!PyArg_ParseTuple(args, "SnKipUy#O!O!O!O!nnn", &run.hop.block, &run.hop.at, &base, &run.hop.summed, &run.hop.placed, &run.name,
                          &run.file, &run.file_size, &PyDict_Type, &run.known, &PyDict_Type, &run.maps, &PyDict_Type, &run.numbers,
                          &PyDict_Type, &run.transactions, &run.size_max, &run.rows_max, &run.maps_max))
        return NULL;
    if (open_hop(&run.hop, base) < 0)
        return NULL;
    PyObject *made = NULL;
    Mark held = {.at = run.hop.at, .earliest = INT64_MAX};
    if (open_text(&run.text, 1 << 16) == 0 && write_all(&run, &held) >= 0)
        made = result(&run, &held);
    Py_XDECREF(run.text.object);
    Py_XDECREF(run.missing);
    PyMem_Free(run.changes);
    return made;
}
