# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Parity slices and their checks; see cext/reference/parity.py, the oracle."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "simd.h":
    int strongroom_simd_level(const char* demand) nogil

cdef extern from "parity.h" nogil:
    void parity_prepare(int level)
    void parity_encode(uint8_t* parity, const uint8_t* data, size_t size, size_t slice)
    void parity_add_product(uint8_t* target, const uint8_t* source, size_t size, uint8_t factor)
    uint32_t parity_crc(const uint8_t* data, size_t size)

SLICES_MAX = 255

simd = ""


def use_simd(str demand):
    """For tests: runs at another level from now on. ValueError for one that is not there."""
    global simd
    cdef int level = strongroom_simd_level(demand.encode("utf-8", "replace"))
    if level < 0:
        raise ValueError(f"no level {demand!r} here")
    parity_prepare(level)
    simd = "avx2" if level else "scalar"


try:
    use_simd(os.environ.get("STRONGROOM_SIMD", ""))
except ValueError as error:
    raise ImportError("STRONGROOM_SIMD: an unknown word, or more than there is") from error


cdef inline const uint8_t* _start(const unsigned char[::1] view) noexcept:
    return &view[0] if view.shape[0] else <const uint8_t*> b""


def encode(const unsigned char[::1] data, Py_ssize_t slice_bytes):
    """The two parity slices of `data` in slices of so many bytes, joined."""
    cdef size_t size = data.shape[0]
    cdef const uint8_t* source = _start(data)
    cdef uint8_t* target
    if slice_bytes < 1 or size > <size_t> slice_bytes * 255:
        raise ValueError("1 to 255 slices of at least one byte")
    made = PyBytes_FromStringAndSize(NULL, 2 * slice_bytes)
    target = <uint8_t*> PyBytes_AS_STRING(made)
    with nogil:
        parity_encode(target, source, size, slice_bytes)
    return made


def checks(const unsigned char[::1] data, Py_ssize_t slice_bytes):
    """CRC-32 of each slice, 4 bytes each."""
    cdef size_t size = data.shape[0]
    cdef size_t at
    cdef size_t held
    cdef uint32_t crc
    cdef const uint8_t* source = _start(data)
    cdef uint8_t* target
    if slice_bytes < 1:
        raise ValueError("slices of at least one byte")
    made = PyBytes_FromStringAndSize(NULL, 4 * ((size + slice_bytes - 1) // slice_bytes))
    target = <uint8_t*> PyBytes_AS_STRING(made)
    with nogil:
        at = 0
        while at < size:
            held = size - at if size - at < <size_t> slice_bytes else <size_t> slice_bytes
            crc = parity_crc(source + at, held)
            target[0] = crc & 0xFF
            target[1] = (crc >> 8) & 0xFF
            target[2] = (crc >> 16) & 0xFF
            target[3] = crc >> 24
            target += 4
            at += slice_bytes
    return made


def add_product(unsigned char[::1] target, const unsigned char[::1] source, uint8_t factor):
    """Add `factor` times `source` to the beginning of `target`."""
    cdef size_t size = source.shape[0]
    if target.shape[0] < source.shape[0]:
        raise ValueError("the target is too small")
    if size == 0:
        return
    with nogil:
        parity_add_product(&target[0], &source[0], size, factor)
