# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Cut points of content-defined chunking; see cext/reference/gear.py, the oracle."""

from libc.stdint cimport uint32_t


def cut(const unsigned char[::1] data, bytes table, unsigned int size_min, unsigned int size_normal,
        unsigned int size_max, unsigned int mask_strict, unsigned int mask_loose):
    """End offsets of the chunks of `data`; `table` holds 256 little-endian 32-bit words."""
    cdef Py_ssize_t length = data.shape[0]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t end
    cdef const unsigned char* words = table
    cdef uint32_t gear[256]
    cdef int i
    cdef const unsigned char* base
    if len(table) != 1024:
        raise ValueError("the table has 1024 bytes")
    for i in range(256):
        gear[i] = (words[4 * i] | (<uint32_t> words[4 * i + 1] << 8)
                   | (<uint32_t> words[4 * i + 2] << 16) | (<uint32_t> words[4 * i + 3] << 24))
    cuts = []
    if length == 0:
        return cuts
    base = &data[0]
    while start < length:
        with nogil:
            end = _next(base + start, length - start, gear, size_min, size_normal, size_max,
                        mask_strict, mask_loose)
        start += end
        cuts.append(start)
    return cuts


cdef Py_ssize_t _next(const unsigned char* data, Py_ssize_t length, const uint32_t* gear,
                      Py_ssize_t size_min, Py_ssize_t size_normal, Py_ssize_t size_max,
                      uint32_t mask_strict, uint32_t mask_loose) noexcept nogil:
    cdef uint32_t value = 0
    cdef Py_ssize_t i
    cdef Py_ssize_t normal = size_normal
    cdef Py_ssize_t limit = size_max
    if length <= size_min:
        return length
    if limit > length:
        limit = length
    if normal > limit:
        normal = limit
    # the 32 bytes before the first candidate fill the window, so that the test sees content only
    for i in range(size_min - 32, size_min - 1):
        value = (value << 1) + gear[data[i]]
    for i in range(size_min - 1, normal - 1):
        value = (value << 1) + gear[data[i]]
        if (value & mask_strict) == 0:
            return i + 1
    for i in range(normal - 1, limit):
        value = (value << 1) + gear[data[i]]
        if (value & mask_loose) == 0:
            return i + 1
    return limit
