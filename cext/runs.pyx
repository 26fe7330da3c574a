# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Rows of index runs, and sets of chunk ids; see cext/reference/runs.py, the oracle."""

from array import array

from cpython cimport array as arrays
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef extern from "runs.h" nogil:
    enum: REF_BYTES
    enum: FRAME_BYTES
    enum: ID_BYTES
    enum: BLOCK_BYTES
    enum: C_ROW_BYTES "ROW_BYTES"
    enum: RUNS_BAD
    enum: RUNS_NO_MEMORY
    const uint32_t C_ROW_NONE "ROW_NONE"
    ctypedef struct lookup_result:
        uint32_t *missing
        uint32_t *found
        uint32_t *places
        size_t missing_count
        size_t found_count
    ctypedef struct merge_source:
        const uint8_t *at
        const uint8_t *end
        const uint32_t *numbers
        size_t frames
        uint32_t run
    ctypedef struct id_table:
        uint8_t *ids
        size_t count
    uint32_t load32(const uint8_t *at)
    uint32_t row_frame(const uint8_t *row)
    uint32_t row_offset(const uint8_t *row)
    uint32_t row_length(const uint8_t *row)
    void runs_ids(const uint8_t *records, size_t n, size_t stride, uint8_t *ids)
    int runs_rows_of(const uint8_t *refs, const uint32_t *counts, size_t frames,
                     uint32_t first_frame, uint8_t *rows)
    int64_t runs_sort(const uint8_t *rows, size_t n, uint8_t *out)
    int runs_check(const uint8_t *rows, size_t n, const uint32_t *plain, size_t frames)
    uint32_t runs_bound(const uint8_t *rows, uint32_t n, const uint8_t *id)
    void runs_search(const uint8_t *rows, uint32_t n, const uint8_t *ids, size_t count,
                     uint32_t *places)
    void runs_lookup(const uint8_t *rows, uint32_t n, const uint8_t *bloom, size_t blocks,
                     const uint8_t *ids, const uint32_t *among, size_t count,
                     lookup_result *result)
    int64_t runs_merge(merge_source *sources, size_t count, merge_source **heap, uint8_t *out)
    int runs_frames_fit(const uint8_t *frames, size_t n, uint64_t packs, uint64_t salts,
                        unsigned codec_max)
    int runs_salts_used(const uint8_t *frames, size_t n, const uint32_t *packs, size_t pack_count,
                        size_t salt_count, uint8_t *used)
    int64_t runs_renumber(const uint8_t *frames, size_t n, const uint32_t *packs,
                          size_t pack_count, const uint32_t *salts, size_t salt_count,
                          uint32_t first, uint8_t *out, uint32_t *numbers)
    int64_t packed_references(const uint8_t *value, size_t size, uint8_t *out)
    void runs_bloom_build(const uint8_t *rows, size_t n, uint8_t *bloom, size_t blocks)
    void runs_bloom_check(const uint8_t *bloom, size_t blocks, const uint8_t *ids, size_t n,
                          uint8_t *mask)
    int id_table_init(id_table *table)
    void id_table_free(id_table *table)
    void id_table_prefetch(const id_table *table, const uint8_t *id)
    int id_table_add(id_table *table, const uint8_t *id)
    int id_table_has(const id_table *table, const uint8_t *id)
    size_t id_table_bytes(const id_table *table)

ROW_BYTES = C_ROW_BYTES
ROW_NONE = C_ROW_NONE

cdef arrays.array _U32 = array("I")


cdef inline const uint8_t* _start(const unsigned char[::1] data) noexcept:
    return &data[0] if data.shape[0] else NULL


cdef inline const uint32_t* _words(const unsigned int[::1] data) noexcept:
    return &data[0] if data.shape[0] else NULL


cdef Py_ssize_t _count(const unsigned char[::1] data, Py_ssize_t size) except -1:
    """Number of records of `size` bytes; rows and positions are numbered with 32 bits."""
    if data.shape[0] % size:
        raise ValueError(f"records have {size} bytes")
    if data.shape[0] // size >= C_ROW_NONE:
        raise ValueError("too many records")
    return data.shape[0] // size


cdef arrays.array _columns(Py_ssize_t count):
    return arrays.clone(_U32, count, zero=False)


cdef bytearray _room(Py_ssize_t size):
    """Bytes that are not written yet."""
    cdef bytearray made = bytearray()
    PyByteArray_Resize(made, size)
    return made


cdef int _check_positions(const unsigned int[::1] positions, Py_ssize_t count) except -1:
    cdef Py_ssize_t i
    for i in range(positions.shape[0]):
        if positions[i] >= <size_t> count:
            raise ValueError("a position lies outside the ids")
    return 0


cdef bytes _ids(const unsigned char[::1] records, Py_ssize_t stride):
    cdef size_t count = _count(records, stride)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, count * ID_BYTES)
    cdef uint8_t* ids = <uint8_t*> PyBytes_AS_STRING(made)
    cdef const uint8_t* source = _start(records)
    with nogil:
        runs_ids(source, count, stride, ids)
    return made


def gather_ids(const unsigned char[::1] refs):
    """The ids of directory records, joined."""
    return _ids(refs, REF_BYTES)


def part_references(const unsigned char[::1] values, const int[::1] offsets):
    """The references in packed parts, joined; value i lies between offsets i, i + 1. ValueError."""
    cdef Py_ssize_t count = offsets.shape[0] - 1, i
    cdef const uint8_t* source = _start(values)
    cdef int64_t size, total = 0
    cdef bytes made
    cdef uint8_t* out
    for i in range(count):
        if not 0 <= offsets[i] <= offsets[i + 1] <= values.shape[0]:
            raise ValueError("a value lies outside the data")
        size = packed_references(source + offsets[i], offsets[i + 1] - offsets[i], NULL)
        if size < 0:
            raise ValueError("the parts of a row cannot be read")
        total += size
    made = PyBytes_FromStringAndSize(NULL, total)
    out = <uint8_t*> PyBytes_AS_STRING(made)
    with nogil:
        for i in range(count):
            out += packed_references(source + offsets[i], offsets[i + 1] - offsets[i], out)
    return made


def row_ids(const unsigned char[::1] rows):
    """The ids of rows, joined."""
    return _ids(rows, C_ROW_BYTES)


def lengths(const unsigned char[::1] refs):
    """The lengths of directory records."""
    cdef size_t count = _count(refs, REF_BYTES), i
    cdef arrays.array made = _columns(count)
    cdef const uint8_t* source = _start(refs)
    for i in range(count):
        made.data.as_uints[i] = load32(source + i * REF_BYTES + ID_BYTES)
    return made


def sum_lengths(const unsigned char[::1] refs):
    """Sum of the lengths of directory records."""
    cdef size_t count = _count(refs, REF_BYTES), i
    cdef const uint8_t* source = _start(refs)
    cdef uint64_t total = 0
    for i in range(count):
        total += load32(source + i * REF_BYTES + ID_BYTES)
    return total


def rows_of(const unsigned char[::1] refs, const unsigned int[::1] frame_chunk_counts,
            unsigned int first_frame):
    """Rows, not sorted, of directory records; see the oracle."""
    cdef size_t count = _count(refs, REF_BYTES), frames = frame_chunk_counts.shape[0], i
    cdef uint64_t total = 0
    cdef int state
    for i in range(frames):
        total += frame_chunk_counts[i]
    if total != count:
        raise ValueError("the counts are not those of the records")
    cdef bytearray rows = _room(count * C_ROW_BYTES)
    cdef uint8_t* out = <uint8_t*> PyByteArray_AS_STRING(rows)
    cdef const uint8_t* source = _start(refs)
    cdef const uint32_t* counts = _words(frame_chunk_counts)
    with nogil:
        state = runs_rows_of(source, counts, frames, first_frame, out)
    if state < 0:
        raise ValueError("a frame is too large")
    return rows


def sort(const unsigned char[::1] rows):
    """The rows by id; of equal ids the first one is kept."""
    cdef size_t count = _count(rows, C_ROW_BYTES)
    cdef bytearray made = _room(count * C_ROW_BYTES)
    cdef uint8_t* out = <uint8_t*> PyByteArray_AS_STRING(made)
    cdef const uint8_t* source = _start(rows)
    cdef int64_t kept
    with nogil:
        kept = runs_sort(source, count, out)
    if kept < 0:
        raise MemoryError
    PyByteArray_Resize(made, kept * C_ROW_BYTES)
    return made


def check(const unsigned char[::1] rows, const unsigned int[::1] frame_plain_bytes):
    """Whether rows rise strictly and every one lies inside its frame."""
    cdef size_t count = _count(rows, C_ROW_BYTES), frames = frame_plain_bytes.shape[0]
    cdef const uint8_t* source = _start(rows)
    cdef const uint32_t* plain = _words(frame_plain_bytes)
    cdef int fits
    with nogil:
        fits = runs_check(source, count, plain, frames)
    return fits != 0


def bound(const unsigned char[::1] rows, const unsigned char[::1] chunk):
    """Number of rows whose id is below `chunk`."""
    if chunk.shape[0] != ID_BYTES:
        raise ValueError("an id has 32 bytes")
    return runs_bound(_start(rows), _count(rows, C_ROW_BYTES), &chunk[0])


def search(const unsigned char[::1] rows, const unsigned char[::1] ids):
    """For each id the number of its row, or ROW_NONE."""
    cdef size_t count = _count(ids, ID_BYTES)
    cdef uint32_t n = _count(rows, C_ROW_BYTES)
    cdef arrays.array made = _columns(count)
    cdef const uint8_t* source = _start(rows)
    cdef const uint8_t* wanted = _start(ids)
    with nogil:
        runs_search(source, n, wanted, count, made.data.as_uints)
    return made


def lookup(const unsigned char[::1] rows, const unsigned char[::1] bloom,
           const unsigned char[::1] ids, const unsigned int[::1] among=None):
    """Positions missing, positions found, rows found; see the oracle."""
    cdef uint32_t n = _count(rows, C_ROW_BYTES)
    cdef size_t count = _count(ids, ID_BYTES), blocks = 0
    cdef const uint8_t* source = _start(rows)
    cdef const uint8_t* wanted = _start(ids)
    cdef const uint8_t* block = NULL
    cdef const uint32_t* positions = NULL
    cdef lookup_result result
    if bloom is not None:
        blocks = _blocks(bloom)
        block = _start(bloom)
    if among is not None:
        _check_positions(among, count)
        count = among.shape[0]
        positions = _words(among)
    cdef arrays.array missing = _columns(count)
    cdef arrays.array found = _columns(count)
    cdef arrays.array places = _columns(count)
    result.missing = missing.data.as_uints
    result.found = found.data.as_uints
    result.places = places.data.as_uints
    result.missing_count = result.found_count = 0
    if count:
        with nogil:
            runs_lookup(source, n, block, blocks, wanted, positions, count, &result)
    arrays.resize(missing, result.missing_count)
    arrays.resize(found, result.found_count)
    arrays.resize(places, result.found_count)
    return missing, found, places


def scatter(const unsigned char[::1] rows, const unsigned int[::1] found,
            const unsigned int[::1] places, unsigned int segment, unsigned long long[::1] frames,
            unsigned int[::1] offsets, unsigned int[::1] lengths):
    """Write the rows `places` into columns at the positions `found`; see the oracle."""
    cdef size_t n = _count(rows, C_ROW_BYTES), count = frames.shape[0], i
    cdef const uint8_t* source = _start(rows)
    cdef const uint8_t* row
    if found.shape[0] != places.shape[0]:
        raise ValueError("columns of unequal length")
    if offsets.shape[0] != frames.shape[0] or lengths.shape[0] != frames.shape[0]:
        raise ValueError("columns of unequal length")
    for i in range(<size_t> found.shape[0]):
        if found[i] >= count or places[i] >= n:
            raise ValueError("a position lies outside the columns")
        row = source + <size_t> places[i] * C_ROW_BYTES
        frames[found[i]] = (<uint64_t> segment << 32) | row_frame(row)
        offsets[found[i]] = row_offset(row)
        lengths[found[i]] = row_length(row)


def pack_numbers(const unsigned char[::1] rows, const unsigned char[::1] frames,
                 const unsigned int[::1] places):
    """The pack of each of the rows `places`, by the frame records."""
    cdef size_t n = _count(rows, C_ROW_BYTES), frame_count = _count(frames, FRAME_BYTES), i
    cdef size_t frame
    cdef const uint8_t* source = _start(rows)
    cdef const uint8_t* records = _start(frames)
    cdef arrays.array made = _columns(places.shape[0])
    for i in range(<size_t> places.shape[0]):
        frame = frame_count
        if places[i] < n:
            frame = row_frame(source + <size_t> places[i] * C_ROW_BYTES)
        if frame >= frame_count:
            raise ValueError("a row or a frame is out of range")
        made.data.as_uints[i] = load32(records + frame * FRAME_BYTES)
    return made


def tally(const unsigned char[::1] rows, const unsigned char[::1] frames,
          const unsigned int[::1] among, unsigned long long[::1] counts):
    """Add the rows `among` to the counts of their packs; the sum of their lengths."""
    cdef size_t n = _count(rows, C_ROW_BYTES), frame_count = _count(frames, FRAME_BYTES), i
    cdef size_t count = n, packs = counts.shape[0], frame, pack
    cdef const uint8_t* source = _start(rows)
    cdef const uint8_t* records = _start(frames)
    cdef const uint32_t* positions = NULL
    cdef const uint8_t* row
    cdef uint64_t total = 0
    cdef bint fits = True
    if among is not None:
        _check_positions(among, n)
        count = among.shape[0]
        positions = _words(among)
    with nogil:
        for i in range(count):
            row = source + (i if positions == NULL else positions[i]) * C_ROW_BYTES
            frame = row_frame(row)
            pack = load32(records + frame * FRAME_BYTES) if frame < frame_count else packs
            if pack >= packs:
                fits = False
                break
            counts[pack] += 1
            total += row_length(row)
    if not fits:
        raise ValueError("a frame or a pack is out of range")
    return total


def merge(runs):
    """Merge sorted rows; see the oracle."""
    cdef size_t count = len(runs), total = 0, i
    cdef const unsigned char[::1] rows
    cdef const unsigned int[::1] numbers
    cdef int64_t kept
    cdef list held = []
    cdef merge_source* sources = <merge_source*> malloc((count + 1) * sizeof(merge_source))
    cdef merge_source** heap = <merge_source**> malloc((count + 1) * sizeof(merge_source*))
    cdef bytearray made
    cdef uint8_t* out
    try:
        if sources == NULL or heap == NULL:
            raise MemoryError
        memset(sources, 0, (count + 1) * sizeof(merge_source))
        for i in range(count):
            rows, numbers = runs[i]
            held.append((rows, numbers))
            total += _count(rows, C_ROW_BYTES)
            sources[i].at = _start(rows)
            sources[i].end = sources[i].at + rows.shape[0]
            sources[i].numbers = _words(numbers)
            sources[i].frames = numbers.shape[0]
            sources[i].run = i
        made = _room(total * C_ROW_BYTES)
        out = <uint8_t*> PyByteArray_AS_STRING(made)
        with nogil:
            kept = runs_merge(sources, count, heap, out)
    finally:
        free(sources)
        free(heap)
    if kept < 0:
        raise ValueError("a frame is out of range")
    PyByteArray_Resize(made, kept * C_ROW_BYTES)
    return made


def frames_fit(const unsigned char[::1] frames, size_t packs, size_t salts, unsigned int codec_max):
    """Whether frame records stand in the order of their packs and refer to what is there."""
    cdef size_t count = _count(frames, FRAME_BYTES)
    cdef const uint8_t* source = _start(frames)
    cdef int fits
    with nogil:
        fits = runs_frames_fit(source, count, packs, salts, codec_max)
    return fits != 0


def salts_used(const unsigned char[::1] frames, const unsigned int[::1] pack_numbers, size_t salts):
    """A byte for each salt: 1 if a frame of a pack that stays has it."""
    cdef size_t count = _count(frames, FRAME_BYTES), packs = pack_numbers.shape[0]
    cdef bytearray made = bytearray(salts)
    cdef uint8_t* used = <uint8_t*> PyByteArray_AS_STRING(made)
    cdef const uint8_t* source = _start(frames)
    cdef const uint32_t* numbers = _words(pack_numbers)
    cdef int state
    with nogil:
        state = runs_salts_used(source, count, numbers, packs, salts, used)
    if state < 0:
        raise ValueError("a frame refers to what is not there")
    return made


def renumber(const unsigned char[::1] frames, const unsigned int[::1] pack_numbers,
             const unsigned int[::1] salt_numbers, unsigned int first_frame):
    """Frame records with new numbers of packs and salts; see the oracle."""
    cdef size_t count = _count(frames, FRAME_BYTES)
    cdef size_t packs = pack_numbers.shape[0], salts = salt_numbers.shape[0]
    cdef bytearray made = _room(count * FRAME_BYTES)
    cdef arrays.array numbers = _columns(count)
    cdef uint8_t* out = <uint8_t*> PyByteArray_AS_STRING(made)
    cdef const uint8_t* source = _start(frames)
    cdef const uint32_t* new_packs = _words(pack_numbers)
    cdef const uint32_t* new_salts = _words(salt_numbers)
    cdef int64_t kept
    with nogil:
        kept = runs_renumber(source, count, new_packs, packs, new_salts, salts, first_frame, out,
                             numbers.data.as_uints)
    if kept < 0:
        raise ValueError("a frame refers to what is not there, or there are too many salts")
    PyByteArray_Resize(made, kept * FRAME_BYTES)
    return made, numbers


def bloom_build(const unsigned char[::1] rows, unsigned int bits_per_key=10):
    """A blocked Bloom filter of the rows' ids; see the oracle."""
    cdef size_t count = _count(rows, C_ROW_BYTES), blocks
    if not 1 <= bits_per_key <= 64:
        raise ValueError("1 to 64 bits for a key")
    blocks = (count * bits_per_key + 511) // 512
    if blocks == 0:
        blocks = 1
    cdef bytearray made = bytearray(blocks * BLOCK_BYTES)
    cdef uint8_t* bloom = <uint8_t*> PyByteArray_AS_STRING(made)
    cdef const uint8_t* source = _start(rows)
    with nogil:
        runs_bloom_build(source, count, bloom, blocks)
    return made


cdef Py_ssize_t _blocks(const unsigned char[::1] bloom) except -1:
    cdef Py_ssize_t blocks = _count(bloom, BLOCK_BYTES)
    if blocks == 0:
        raise ValueError("a filter has whole blocks of 64 bytes")
    return blocks


def bloom_check(const unsigned char[::1] bloom, const unsigned char[::1] ids):
    """A byte for each id: 0 if it is certainly not in the filter, else 1."""
    cdef size_t count = _count(ids, ID_BYTES), blocks = _blocks(bloom)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, count)
    cdef uint8_t* mask = <uint8_t*> PyBytes_AS_STRING(made)
    cdef const uint8_t* source = _start(bloom)
    cdef const uint8_t* wanted = _start(ids)
    with nogil:
        runs_bloom_check(source, blocks, wanted, count, mask)
    return made


cdef class IdTable:
    """A set of ids in memory. Thread-safe under the interpreter lock, which is never let go."""

    cdef id_table _table

    def __cinit__(self):
        if id_table_init(&self._table) < 0:
            raise MemoryError

    def __dealloc__(self):
        id_table_free(&self._table)

    def __len__(self):
        return self._table.count

    @property
    def memory_bytes(self):
        """Bytes of memory the table holds."""
        return id_table_bytes(&self._table)

    @property
    def ids(self):
        """All ids, joined, in the order in which they came."""
        return PyBytes_FromStringAndSize(<char*> self._table.ids, self._table.count * ID_BYTES)

    def add(self, const unsigned char[::1] ids, const unsigned int[::1] among=None):
        """Add ids; the positions that were new, each id's first one only."""
        return self._select(ids, among, True)

    def absent(self, const unsigned char[::1] ids, const unsigned int[::1] among=None):
        """Positions whose id is not in the table."""
        return self._select(ids, among, False)

    cdef arrays.array _select(self, const unsigned char[::1] ids, const unsigned int[::1] among,
                              bint add):
        cdef size_t count = _count(ids, ID_BYTES), kept = 0, i
        cdef const uint8_t* start = _start(ids)
        cdef const uint32_t* positions = NULL
        cdef uint32_t position
        cdef int state
        if among is not None:
            _check_positions(among, count)
            count = among.shape[0]
            positions = _words(among)
        cdef arrays.array made = _columns(count)
        for i in range(count):
            if i + 8 < count:
                position = i + 8 if positions == NULL else positions[i + 8]
                id_table_prefetch(&self._table, start + <size_t> position * ID_BYTES)
            position = i if positions == NULL else positions[i]
            if add:
                state = id_table_add(&self._table, start + <size_t> position * ID_BYTES)
                if state < 0:
                    raise MemoryError
            else:
                state = not id_table_has(&self._table, start + <size_t> position * ID_BYTES)
            if state:
                made.data.as_uints[kept] = position
                kept += 1
        arrays.resize(made, kept)
        return made
