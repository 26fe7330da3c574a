# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Base64 bodies of mail, cut out and put back; see cext/reference/mime.py, the oracle."""

import os
from array import array

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytearray cimport PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free

cdef extern from "mime.h" nogil:
    enum:
        MIME_BODY_BYTES_MIN
        MIME_LINE_CHARACTERS_MAX
        MIME_RECIPE_BODY_BYTES_MAX
    ctypedef struct mime_body:
        size_t bytes
    ctypedef struct mime_bodies:
        mime_body* items
        size_t count
        size_t room
    const char* mime_begin(const char* demand)
    int mime_looks_like_mail(const uint8_t* text, size_t size)
    int mime_find(mime_bodies* bodies, const uint8_t* text, size_t size)
    uint8_t* mime_write(uint8_t* out, const uint8_t* text, size_t size, mime_body* bodies,
                        size_t* count)
    size_t mime_write_recipe(uint8_t* out, const mime_body* bodies, size_t count)
    int64_t mime_content_bytes(size_t stream, const uint8_t* recipe, size_t recipe_bytes,
                               size_t* text)
    void mime_join(uint8_t* out, const uint8_t* stream, size_t text, size_t recipe_bytes,
                   const uint8_t* recipe)
    size_t mime_text_bytes(size_t count, size_t line, unsigned newline)
    uint8_t* mime_encode_body(uint8_t* text, const uint8_t* bytes, size_t count, size_t line,
                              unsigned newline)


cdef str _begin():
    demand = os.environ.get("STRONGROOM_SIMD", "")
    cdef bytes word = demand.encode("utf-8", "replace")
    cdef const char* level = mime_begin(word)
    if level == NULL:
        raise ImportError(f"STRONGROOM_SIMD={demand!r}: no such level here")
    return level.decode()


BODY_BYTES_MIN = MIME_BODY_BYTES_MIN
simd = _begin()


cdef inline const uint8_t* _start(const unsigned char[::1] view) noexcept:
    return &view[0] if view.shape[0] else <const uint8_t*> b""


def looks_like_mail(data):
    """Whether content begins as mail does: only then it is searched for bodies."""
    cdef const unsigned char[::1] view = data
    return bool(mime_looks_like_mail(_start(view), view.shape[0]))


def split(data, spans):
    """The stream form of each span: (stream, stream spans, counts, recipes)."""
    cdef const unsigned char[::1] view = data
    cdef const uint64_t[::1] places = spans
    cdef Py_ssize_t n = places.shape[0] // 2
    cdef Py_ssize_t i
    cdef const uint8_t* base = _start(view)
    cdef uint64_t total = 0
    cdef uint64_t[::1] counts
    cdef mime_bodies bodies = mime_bodies(NULL, 0, 0)
    cdef size_t before
    cdef int failed = 0
    if places.shape[0] % 2:
        raise ValueError("spans are pairs of start and end")
    for i in range(n):
        if places[2 * i] > places[2 * i + 1] or places[2 * i + 1] > <uint64_t> view.shape[0]:
            raise ValueError("a span lies outside the data")
        total += places[2 * i + 1] - places[2 * i]
    kept = array("Q", bytes(8 * n))
    counts = kept
    try:
        with nogil:
            for i in range(n):
                before = bodies.count
                failed = mime_find(&bodies, base + places[2 * i],
                                   places[2 * i + 1] - places[2 * i])
                if failed:
                    break
                counts[i] = 1 + bodies.count - before
        if failed:
            raise MemoryError
        if bodies.count == 0:
            return data, array("Q", bytes(places)), kept, [b""] * n
        return _written(base, places, counts, &bodies, total, kept)
    finally:
        free(bodies.items)


cdef _written(const uint8_t* base, const uint64_t[::1] places, uint64_t[::1] counts,
              mime_bodies* bodies, uint64_t total, kept):
    """One new buffer with the stream of every span; `total` is the size of their contents."""
    cdef Py_ssize_t n = counts.shape[0]
    cdef Py_ssize_t i, j
    cdef Py_ssize_t found = 0
    cdef size_t left
    cdef mime_body* own = bodies.items
    cdef bytearray stream = PyByteArray_FromStringAndSize(NULL, <Py_ssize_t> total)
    cdef uint8_t* out = <uint8_t*> PyByteArray_AS_STRING(stream)
    cdef uint64_t at = 0
    cdef uint64_t end
    stream_spans = array("Q", bytes(16 * (n + bodies.count)))
    cdef uint64_t[::1] ends = stream_spans
    with nogil:
        for i in range(n):
            left = counts[i] - 1
            end = mime_write(out + at, base + places[2 * i], places[2 * i + 1] - places[2 * i],
                             own, &left) - out
            ends[2 * found] = at
            at = end
            for j in range(<Py_ssize_t> left):
                at -= own[j].bytes
            ends[2 * found + 1] = at
            found += 1
            for j in range(<Py_ssize_t> left):
                ends[2 * found] = at
                at += own[j].bytes
                ends[2 * found + 1] = at
                found += 1
            own += counts[i] - 1
            counts[i] = 1 + left
    recipes = _recipes(bodies, counts)
    PyByteArray_Resize(stream, at)
    del ends
    return stream, stream_spans[:2 * found], kept, recipes


cdef list _recipes(mime_bodies* bodies, uint64_t[::1] counts):
    cdef mime_body* own = bodies.items
    cdef mime_body* end = own + bodies.count
    cdef bytearray room = bytearray(MIME_RECIPE_BODY_BYTES_MAX * bodies.count)
    cdef uint8_t* out = <uint8_t*> PyByteArray_AS_STRING(room)
    cdef Py_ssize_t i
    cdef size_t size
    recipes = []
    for i in range(counts.shape[0]):
        if counts[i] == 1:
            recipes.append(b"")
        else:
            size = mime_write_recipe(out, own, counts[i] - 1)
            recipes.append(PyBytes_FromStringAndSize(<char*> out, <Py_ssize_t> size))
            own += counts[i] - 1
        while own < end and own.bytes == 0:  # one that did not stand the verification
            own += 1
    return recipes


def join(streams, recipe):
    """The content of a part from all its stream bytes."""
    cdef const unsigned char[::1] stream = streams
    cdef const unsigned char[::1] steps = recipe
    cdef const uint8_t* source = _start(stream)
    cdef const uint8_t* first = _start(steps)
    cdef size_t stream_bytes = stream.shape[0]
    cdef size_t recipe_bytes = steps.shape[0]
    cdef size_t text = 0
    cdef int64_t size = mime_content_bytes(stream_bytes, first, recipe_bytes, &text)
    if size < 0:
        raise ValueError("the recipe does not fit the stream")
    cdef bytes content = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* out = <uint8_t*> PyBytes_AS_STRING(content)
    with nogil:
        mime_join(out, source, text, recipe_bytes, first)
    return content


def encode_lines(decoded, size_t line_characters, unsigned int newline):
    """The text of one whole body; no newline behind its last line."""
    cdef const unsigned char[::1] view = decoded
    cdef const uint8_t* source = _start(view)
    cdef size_t count = view.shape[0]
    if (line_characters > MIME_LINE_CHARACTERS_MAX or line_characters % 4 or newline > 2
            or (newline == 0) != (line_characters == 0)):
        raise ValueError("no such form of lines")
    cdef bytes text = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t> mime_text_bytes(count, line_characters, newline))
    cdef uint8_t* out = <uint8_t*> PyBytes_AS_STRING(text)
    with nogil:
        mime_encode_body(out, source, count, line_characters, newline)
    return text
