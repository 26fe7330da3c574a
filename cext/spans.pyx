# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Spans of a buffer and references of chunks; see cext/reference/spans.py, the oracle."""

from array import array

from cpython cimport array as arrays
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport log2
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

REFERENCE_BYTES = 36
DENSE_SAMPLE_BYTES = 4096
DENSE_ENTROPY_BITS = 7.5

cdef enum:
    REFERENCE = 36
    SAMPLE = 4096

cdef double _terms[SAMPLE + 1]  # n * log2(n)
cdef int _n
for _n in range(SAMPLE + 1):
    _terms[_n] = _n * log2(_n) if _n else 0.0

cdef arrays.array _NUMBERS = array("Q")
cdef arrays.array _SMALL = array("I")


cdef int _check(const uint64_t[::1] spans, uint64_t length) except -1:
    cdef Py_ssize_t i
    if spans.shape[0] % 2:
        raise ValueError("a span without an end")
    for i in range(0, spans.shape[0], 2):
        if spans[i] > spans[i + 1] or spans[i + 1] > length:
            raise ValueError("a span outside its buffer")
    return 0


def gather_into(const unsigned char[::1] data, const uint64_t[::1] spans,
                unsigned char[::1] target, Py_ssize_t at):
    """Copy the bytes of the spans, joined, to `target` from `at` on; where they end there."""
    cdef Py_ssize_t n = spans.shape[0] // 2
    cdef Py_ssize_t i
    cdef uint64_t size
    cdef uint64_t total = 0
    _check(spans, data.shape[0])
    for i in range(n):
        total += spans[2 * i + 1] - spans[2 * i]
    if at < 0 or at > target.shape[0] or total > <uint64_t> (target.shape[0] - at):
        raise ValueError("the target is too small")
    if total == 0:
        return at
    with nogil:
        for i in range(n):
            size = spans[2 * i + 1] - spans[2 * i]
            if size:
                memcpy(&target[at], &data[0] + spans[2 * i], size)
            at += size
    return at


def select(const uint64_t[::1] spans, const uint32_t[::1] among):
    """The spans numbered in `among` (uint32)."""
    cdef Py_ssize_t n = among.shape[0]
    cdef Py_ssize_t i
    cdef arrays.array made = arrays.clone(_NUMBERS, 2 * n, zero=False)
    if spans.shape[0] % 2:
        raise ValueError("a span without an end")
    for i in range(n):
        if 2 * <uint64_t> among[i] + 1 >= <uint64_t> spans.shape[0]:
            raise ValueError("a number outside the spans")
        made.data.as_ulonglongs[2 * i] = spans[2 * <Py_ssize_t> among[i]]
        made.data.as_ulonglongs[2 * i + 1] = spans[2 * <Py_ssize_t> among[i] + 1]
    return made


def groups(const uint64_t[::1] spans, const unsigned char[::1] mask, held, uint64_t target):
    """How chunks fill frames of two kinds, in order."""
    cdef Py_ssize_t n = mask.shape[0]
    cdef Py_ssize_t i
    cdef int kind
    cdef uint64_t sizes[2]
    cdef Py_ssize_t counts[2]
    if spans.shape[0] != 2 * n:
        raise ValueError("a kind for every span")
    sizes[0], sizes[1] = held
    counts[0] = counts[1] = 0
    numbers = (arrays.clone(_SMALL, n, zero=False), arrays.clone(_SMALL, n, zero=False))
    cdef uint32_t[::1] plain = numbers[0]
    cdef uint32_t[::1] dense = numbers[1]
    made = []
    for i in range(n):
        kind = mask[i]
        if kind > 1 or spans[2 * i] > spans[2 * i + 1]:
            raise ValueError("a kind for every span")
        if kind:
            dense[counts[1]] = i
        else:
            plain[counts[0]] = i
        counts[kind] += 1
        sizes[kind] += spans[2 * i + 1] - spans[2 * i]
        if sizes[kind] >= target:
            made.append((kind, numbers[kind][:counts[kind]], True))
            counts[kind] = 0
            sizes[kind] = 0
    for kind in range(2):
        if counts[kind]:
            made.append((kind, numbers[kind][:counts[kind]], False))
    return made


def references(const unsigned char[::1] ids, const uint64_t[::1] spans):
    """References of chunks with these ids (32 bytes each) and spans."""
    cdef Py_ssize_t n = ids.shape[0] // 32
    cdef Py_ssize_t i
    cdef uint64_t size
    cdef unsigned char* target
    if ids.shape[0] % 32 or spans.shape[0] != 2 * n:
        raise ValueError("ids and spans of different number")
    made = PyBytes_FromStringAndSize(NULL, n * REFERENCE)
    target = <unsigned char*> PyBytes_AS_STRING(made)
    for i in range(n):
        if spans[2 * i] > spans[2 * i + 1] or spans[2 * i + 1] - spans[2 * i] > 0xFFFFFFFF:
            raise ValueError("an impossible span")
        size = spans[2 * i + 1] - spans[2 * i]
        memcpy(target, &ids[32 * i], 32)
        _put_length(target + 32, <uint32_t> size)
        target += REFERENCE
    return made


cdef inline void _put_length(unsigned char* target, uint32_t size) noexcept nogil:
    target[0] = size & 0xFF
    target[1] = (size >> 8) & 0xFF
    target[2] = (size >> 16) & 0xFF
    target[3] = size >> 24


cdef inline uint32_t _length(const unsigned char* reference) noexcept nogil:
    return (reference[32] | (<uint32_t> reference[33] << 8)
            | (<uint32_t> reference[34] << 16) | (<uint32_t> reference[35] << 24))


def take(const unsigned char[::1] references, const uint32_t[::1] among):
    """The references numbered in `among` (uint32), joined."""
    cdef Py_ssize_t n = among.shape[0]
    cdef Py_ssize_t held = references.shape[0] // REFERENCE
    cdef Py_ssize_t i
    cdef char* target
    if references.shape[0] % REFERENCE:
        raise ValueError("references cut short")
    made = PyBytes_FromStringAndSize(NULL, n * REFERENCE)
    target = PyBytes_AS_STRING(made)
    for i in range(n):
        if among[i] >= held:
            raise ValueError("a number outside the references")
        memcpy(target + i * REFERENCE, &references[<Py_ssize_t> among[i] * REFERENCE], REFERENCE)
    return made


def of_references(const unsigned char[::1] references):
    """Spans of chunks that lie one after the other, from their references."""
    cdef Py_ssize_t n = references.shape[0] // REFERENCE
    cdef Py_ssize_t i
    cdef uint64_t at = 0
    cdef arrays.array made
    if references.shape[0] % REFERENCE:
        raise ValueError("references cut short")
    made = arrays.clone(_NUMBERS, 2 * n, zero=False)
    for i in range(n):
        made.data.as_ulonglongs[2 * i] = at
        at += _length(&references[i * REFERENCE])
        made.data.as_ulonglongs[2 * i + 1] = at
    return made


def dense(const unsigned char[::1] data, const uint64_t[::1] spans):
    """One byte per span: 1 if it looks incompressible (order-0 entropy of a sample), else 0."""
    cdef Py_ssize_t n = spans.shape[0] // 2
    cdef Py_ssize_t i
    cdef char* target
    _check(spans, data.shape[0])
    made = PyBytes_FromStringAndSize(NULL, n)
    target = PyBytes_AS_STRING(made)
    with nogil:
        for i in range(n):
            target[i] = (spans[2 * i + 1] - spans[2 * i] >= SAMPLE // 4
                         and _is_dense(&data[0] + spans[2 * i], spans[2 * i + 1] - spans[2 * i]))
    return made


cdef bint _is_dense(const unsigned char* piece, uint64_t size) noexcept nogil:
    # four tables: a byte that repeats does not wait for the count before it
    cdef uint32_t counts[4][256]
    cdef uint64_t step = size // SAMPLE
    cdef uint64_t taken = 0
    cdef uint64_t at = 0
    cdef double total = 0
    cdef int i
    memset(counts, 0, sizeof(counts))
    if step == 0:
        step = 1
    while taken + 4 <= SAMPLE and at + 3 * step < size:
        counts[0][piece[at]] += 1
        counts[1][piece[at + step]] += 1
        counts[2][piece[at + 2 * step]] += 1
        counts[3][piece[at + 3 * step]] += 1
        at += 4 * step
        taken += 4
    while at < size and taken < SAMPLE:
        counts[0][piece[at]] += 1
        at += step
        taken += 1
    for i in range(256):
        total += _terms[counts[0][i] + counts[1][i] + counts[2][i] + counts[3][i]]
    return log2(taken) - total / taken > 7.5
