# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Many small files in one call; see cext/reference/filebatch.py, the oracle."""

from cpython cimport array
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memset

import array
import os

cdef extern from "filebatch.h" nogil:
    enum:
        FILEBATCH_STAT_FIELDS
        FILEBATCH_READ_FIELDS
        FILEBATCH_PLAN_FIELDS
        FILEBATCH_ATTRIBUTE_FIELDS
        FILEBATCH_CREATE
        FILEBATCH_LAST

    struct filebatch_listing:
        size_t count

    struct filebatch_piece:
        const unsigned char* data
        uint64_t size

    int filebatch_listing_open(filebatch_listing* listing, const char* path)
    size_t filebatch_listing_bytes(const filebatch_listing* listing)
    void filebatch_listing_stat(const filebatch_listing* listing, char* names, uint64_t* ends,
                                int64_t* rows)
    void filebatch_listing_close(filebatch_listing* listing)
    void filebatch_read(const unsigned char* paths, const uint64_t* ends, const uint64_t* sizes,
                        size_t count, char* scratch, unsigned char* buffer, uint64_t* spans,
                        int64_t* rows)
    int filebatch_write(const char* root, const unsigned char* paths, const uint64_t* ends,
                        size_t count, char* scratch, const filebatch_piece* pieces,
                        const uint64_t* plan, size_t rows, const int64_t* attributes,
                        int64_t* errors)

STAT_FIELDS = FILEBATCH_STAT_FIELDS
MODE, SIZE, MTIME_NS, CTIME_NS, INO, DEV, NLINK, UID, GID, BLOCKS, ERRNO = range(STAT_FIELDS)
READ_FIELDS = FILEBATCH_READ_FIELDS
(AFTER_ERRNO, AFTER_SIZE, AFTER_MTIME_NS, AFTER_CTIME_NS, AFTER_INO,
 AFTER_XATTR) = range(READ_FIELDS)
PLAN_FIELDS = FILEBATCH_PLAN_FIELDS
ATTRIBUTE_FIELDS = FILEBATCH_ATTRIBUTE_FIELDS
CREATE = FILEBATCH_CREATE
LAST = FILEBATCH_LAST

cdef array.array _UNSIGNED = array.array("Q")
cdef array.array _SIGNED = array.array("q")


def scan(bytes folder):
    """Names of a folder, sorted, and the lstat of each: names, ends, stats."""
    cdef filebatch_listing listing
    cdef const char* path = PyBytes_AS_STRING(folder)
    cdef int error
    cdef bytes names
    cdef array.array ends
    cdef array.array stats
    cdef char* names_data
    cdef uint64_t* ends_data
    cdef int64_t* stats_data
    if b"\0" in folder:
        raise ValueError("a path holds a zero byte")
    memset(&listing, 0, sizeof(listing))
    try:
        with nogil:
            error = filebatch_listing_open(&listing, path)
        if error != 0:
            raise OSError(error, os.strerror(error), folder)
        names = PyBytes_FromStringAndSize(NULL, filebatch_listing_bytes(&listing))
        ends = array.clone(_UNSIGNED, listing.count, False)
        stats = array.clone(_SIGNED, listing.count * FILEBATCH_STAT_FIELDS, False)
        names_data = PyBytes_AS_STRING(names)
        ends_data = <uint64_t*> ends.data.as_voidptr
        stats_data = <int64_t*> stats.data.as_voidptr
        with nogil:
            filebatch_listing_stat(&listing, names_data, ends_data, stats_data)
    finally:
        with nogil:
            filebatch_listing_close(&listing)
    return names, ends, stats


def read(const unsigned char[::1] paths, const uint64_t[::1] path_ends, sizes,
         unsigned char[::1] buffer):
    """Whole small files, one after another into `buffer`: spans, after."""
    cdef Py_ssize_t count = path_ends.shape[0]
    cdef array.array spans
    cdef array.array after
    cdef uint64_t* spans_data
    cdef int64_t* after_data
    cdef char* scratch = NULL
    cdef Py_ssize_t longest = _longest(paths, path_ends)
    # whatever their sign, so that a column of scan can be passed
    cdef const uint64_t[::1] expected = memoryview(sizes).cast("B").cast("Q")
    if expected.shape[0] != count:
        raise ValueError("each path has one size")
    _check_room(expected, buffer.shape[0])
    spans = array.clone(_UNSIGNED, 2 * count, False)
    after = array.clone(_SIGNED, count * FILEBATCH_READ_FIELDS, False)
    if count == 0:
        return spans, after
    spans_data = <uint64_t*> spans.data.as_voidptr
    after_data = <int64_t*> after.data.as_voidptr
    scratch = <char*> malloc(longest + 1)
    if scratch == NULL:
        raise MemoryError
    with nogil:
        filebatch_read(&paths[0], &path_ends[0], &expected[0], count, scratch, &buffer[0],
                       spans_data, after_data)
        free(scratch)
    return spans, after


def write(bytes root, const unsigned char[::1] paths, const uint64_t[::1] path_ends, pieces,
          const uint64_t[::1] plan, const int64_t[::1] attributes):
    """Create or go on with many files below `root`: one errno a file."""
    cdef Py_ssize_t count = path_ends.shape[0]
    cdef Py_ssize_t rows = plan.shape[0] // FILEBATCH_PLAN_FIELDS
    cdef Py_ssize_t longest = _longest(paths, path_ends)
    cdef _Held held = _Held(list(pieces))
    cdef array.array errors = array.clone(_SIGNED, count, False)
    cdef int64_t* errors_data = <int64_t*> errors.data.as_voidptr
    cdef const char* folder = PyBytes_AS_STRING(root)
    cdef char* scratch
    cdef int error
    if b"\0" in root:
        raise ValueError("a path holds a zero byte")
    _check_relative(paths, path_ends)
    _check_attributes(attributes, count)
    _check_plan(plan, count, held)
    scratch = <char*> malloc(longest + 1)
    if scratch == NULL:
        raise MemoryError
    with nogil:
        error = filebatch_write(folder, &paths[0], &path_ends[0], count, scratch, held.pieces,
                                &plan[0], rows, &attributes[0], errors_data)
        free(scratch)
    if error != 0:
        raise OSError(error, os.strerror(error), root)
    return errors


cdef class _Held:
    """Buffers that stay where they are as long as this lives."""

    cdef Py_buffer* views
    cdef filebatch_piece* pieces
    cdef Py_ssize_t count

    def __cinit__(self, list pieces):
        cdef Py_ssize_t wanted = len(pieces)
        self.views = <Py_buffer*> calloc(wanted + 1, sizeof(Py_buffer))
        self.pieces = <filebatch_piece*> calloc(wanted + 1, sizeof(filebatch_piece))
        if self.views == NULL or self.pieces == NULL:
            raise MemoryError
        for piece in pieces:
            PyObject_GetBuffer(piece, &self.views[self.count], PyBUF_SIMPLE)
            self.pieces[self.count].data = <const unsigned char*> self.views[self.count].buf
            self.pieces[self.count].size = self.views[self.count].len
            self.count += 1

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            PyBuffer_Release(&self.views[i])
        free(self.views)
        free(self.pieces)


cdef Py_ssize_t _longest(const unsigned char[::1] paths, const uint64_t[::1] ends) except -1:
    """Length of the longest path."""
    cdef uint64_t start = 0
    cdef uint64_t longest = 0
    cdef Py_ssize_t i
    for i in range(ends.shape[0]):
        if ends[i] < start or ends[i] > <uint64_t> paths.shape[0]:
            raise ValueError("path_ends does not fit the paths")
        if ends[i] - start > longest:
            longest = ends[i] - start
        start = ends[i]
    if start > 0 and memchr(&paths[0], 0, start) != NULL:
        raise ValueError("a path holds a zero byte")
    return longest


cdef int _check_relative(const unsigned char[::1] paths, const uint64_t[::1] ends) except -1:
    cdef uint64_t start = 0
    cdef Py_ssize_t i
    for i in range(ends.shape[0]):
        if ends[i] > start and paths[start] == c"/":
            raise ValueError("a path leaves the root")
        start = ends[i]
    return 0


cdef int _check_room(const uint64_t[::1] sizes, uint64_t room) except -1:
    cdef uint64_t left = room
    cdef Py_ssize_t i
    for i in range(sizes.shape[0]):
        if sizes[i] >= left:
            raise ValueError("the buffer has room for all sizes and one byte more a file")
        left -= sizes[i] + 1
    return 0


cdef int _check_attributes(const int64_t[::1] attributes, Py_ssize_t count) except -1:
    cdef Py_ssize_t i
    if attributes.shape[0] != count * FILEBATCH_ATTRIBUTE_FIELDS:
        raise ValueError("each file has five attributes")
    for i in range(0, attributes.shape[0], FILEBATCH_ATTRIBUTE_FIELDS):
        if not 0 <= attributes[i] <= 0o7777:
            raise ValueError("a mode lies outside 0..0o7777")
        if not (-1 <= attributes[i + 1] < 0xFFFFFFFF and -1 <= attributes[i + 2] < 0xFFFFFFFF):
            raise ValueError("an owner lies outside -1..2**32-2")
        if attributes[i + 4] & ~(FILEBATCH_CREATE | FILEBATCH_LAST):
            raise ValueError("an unknown flag")
    return 0


cdef int _check_plan(const uint64_t[::1] plan, Py_ssize_t count, _Held held) except -1:
    cdef uint64_t file = 0
    cdef uint64_t size
    cdef Py_ssize_t i
    if plan.shape[0] % FILEBATCH_PLAN_FIELDS:
        raise ValueError("each row of the plan has five numbers")
    for i in range(0, plan.shape[0], FILEBATCH_PLAN_FIELDS):
        if plan[i] < file or plan[i] >= <uint64_t> count:
            raise ValueError("the plan is not in the order of the files")
        file = plan[i]
        if plan[i + 2] >= <uint64_t> held.count:
            raise ValueError("the plan names a piece that is not there")
        size = held.pieces[plan[i + 2]].size
        if plan[i + 4] > size or plan[i + 3] > size - plan[i + 4]:
            raise ValueError("a row of the plan lies outside its piece")
        if plan[i + 1] > <uint64_t> INT64_MAX - plan[i + 4]:
            raise ValueError("a row of the plan lies outside any file")
    return 0
