# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Keyed BLAKE3 of many spans in one call; see cext/reference/digest.py, the oracle."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

cdef extern from "simd.h":
    int strongroom_simd_level(const char* demand) nogil

cdef extern from "digest.h":
    int digest_spans(const unsigned char* data, const uint64_t* spans, size_t count,
                     const unsigned char* key, unsigned char* out, int level) noexcept nogil

DIGEST_BYTES = 32

cdef bytes _demand = os.environ.get("STRONGROOM_SIMD", "").encode("utf-8", "replace")
cdef int _level = strongroom_simd_level(_demand)
if _level < 0:
    raise ImportError("STRONGROOM_SIMD: an unknown word, or more than there is")
simd = ("scalar", "avx2", "avx512")[_level]


def use_simd(str demand):
    """For tests: runs at another level from now on. ValueError for one that is not there."""
    global _level, simd
    cdef int level = strongroom_simd_level(demand.encode("utf-8", "replace"))
    if level < 0:
        raise ValueError(f"no level {demand!r} here")
    _level = level
    simd = ("scalar", "avx2", "avx512")[level]


def keyed(const unsigned char[::1] data, const uint64_t[::1] spans, const unsigned char[::1] key):
    """The digests of all spans, 32 bytes each, in their order."""
    cdef size_t count = spans.shape[0] // 2
    cdef uint64_t length = data.shape[0]
    cdef Py_ssize_t i
    cdef const unsigned char* base = &data[0]
    cdef unsigned char* target
    cdef int failed
    if key.shape[0] != 32:
        raise ValueError("the key has 32 bytes")
    if spans.shape[0] % 2:
        raise ValueError("a span without an end")
    for i in range(0, spans.shape[0], 2):
        if spans[i] > spans[i + 1] or spans[i + 1] > length:
            raise ValueError("a span outside its buffer")
    made = PyBytes_FromStringAndSize(NULL, 32 * count)
    if count == 0:
        return made
    target = <unsigned char*> PyBytes_AS_STRING(made)
    with nogil:
        failed = digest_spans(base, &spans[0], count, &key[0], target, _level)
    if failed:
        raise MemoryError
    return made
