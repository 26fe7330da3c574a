# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Cut points of content-defined chunking; see cext/reference/gear.py, the oracle."""

import os
from array import array

from cpython cimport array as arrays
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "simd.h":
    int strongroom_simd_level(const char* demand) nogil

cdef extern from "gear.h":
    ctypedef struct gear_params:
        size_t size_min
        size_t size_normal
        size_t size_max
        uint32_t mask_strict
        uint32_t mask_loose
        int level

    void gear_load(gear_params* params, const unsigned char* table) nogil
    size_t gear_next(const unsigned char* data, size_t length,
                     gear_params* params) noexcept nogil

WINDOW_BYTES = 32

cdef arrays.array _NUMBERS = array("Q")

# with AVX2 alone nothing beats scalar code (docs/decisions/0008-kernels.md), so that level runs it
cdef bytes _demand = os.environ.get("STRONGROOM_SIMD", "").encode("utf-8", "replace")
cdef int _level = strongroom_simd_level(_demand)
if _level < 0:
    raise ImportError("STRONGROOM_SIMD: an unknown word, or more than there is")
simd = "avx512" if _level == 2 else "scalar"


def use_simd(str demand):
    """For tests: runs at another level from now on. ValueError for one that is not there."""
    global _level, simd
    cdef int level = strongroom_simd_level(demand.encode("utf-8", "replace"))
    if level < 0:
        raise ValueError(f"no level {demand!r} here")
    _level = level
    simd = "avx512" if level == 2 else "scalar"


def cut_spans(const unsigned char[::1] data, const uint64_t[::1] spans,
              const unsigned char[::1] table, uint64_t size_min, uint64_t size_normal,
              uint64_t size_max, uint32_t mask_strict, uint32_t mask_loose):
    """The chunks of every span as spans of `data`, and their number for each span."""
    cdef Py_ssize_t n = spans.shape[0] // 2
    cdef Py_ssize_t i
    cdef uint64_t length = data.shape[0]
    cdef uint64_t at
    cdef uint64_t end
    cdef Py_ssize_t room = 0
    cdef Py_ssize_t used = 0
    cdef Py_ssize_t before
    cdef arrays.array chunks
    cdef arrays.array counts
    cdef uint64_t* chunk
    cdef uint64_t* count
    cdef const unsigned char* base = &data[0]
    cdef gear_params params
    if table.shape[0] != 1024:
        raise ValueError("the table has 1024 bytes")
    if not WINDOW_BYTES <= size_min <= size_normal <= size_max:
        raise ValueError("the sizes are not window <= min <= normal <= max")
    if spans.shape[0] % 2:
        raise ValueError("a span without an end")
    for i in range(n):
        if spans[2 * i] > spans[2 * i + 1] or spans[2 * i + 1] > length:
            raise ValueError("a span outside its buffer")
        room += (spans[2 * i + 1] - spans[2 * i]) // size_min + 1
    chunks = arrays.clone(_NUMBERS, 2 * room, zero=False)
    counts = arrays.clone(_NUMBERS, n, zero=False)
    chunk = <uint64_t*> chunks.data.as_voidptr
    count = <uint64_t*> counts.data.as_voidptr
    params.size_min, params.size_normal, params.size_max = size_min, size_normal, size_max
    params.mask_strict, params.mask_loose, params.level = mask_strict, mask_loose, _level
    with nogil:
        gear_load(&params, &table[0])
        for i in range(n):
            at, end, before = spans[2 * i], spans[2 * i + 1], used
            while at < end:
                chunk[2 * used] = at
                at += gear_next(base + at, end - at, &params)
                chunk[2 * used + 1] = at
                used += 1
            count[i] = used - before
    arrays.resize(chunks, 2 * used)
    return chunks, counts
