/*
 * Base64 lines at each SIMD level: count, decode, hold against their bytes, encode.
 *
 * A line is `line` characters (a multiple of 4), then `width` newline bytes (0 none, 1 LF, 2 CRLF). Each level has a block of
 * 4, 32 or 64 characters; a line that is no multiple of the block ends with a block that overlaps the one before, so that
 * nothing is read or written outside the line.
 */
#ifndef STRONGROOM_MIME_LINES_H
#define STRONGROOM_MIME_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"

#if STRONGROOM_X86
#include <immintrin.h>
#endif

#if defined(__GNUC__)
#define MIME_INLINE static inline __attribute__((always_inline))
#else
#define MIME_INLINE static inline
#endif

static const char mime_alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static uint8_t mime_value[256];    /* of a character; 255: none of the alphabet */
static uint8_t mime_pair[4096][2]; /* two characters for 12 bits */

/* ---- blocks of the scalar level: 4 characters, 3 bytes ---- */

MIME_INLINE void mime_decode_block_scalar(uint8_t *bytes, const uint8_t *text)
{
    uint32_t bits = (uint32_t)mime_value[text[0]] << 18 | (uint32_t)mime_value[text[1]] << 12
                    | (uint32_t)mime_value[text[2]] << 6 | mime_value[text[3]];
    bytes[0] = (uint8_t)(bits >> 16);
    bytes[1] = (uint8_t)(bits >> 8);
    bytes[2] = (uint8_t)bits;
}

MIME_INLINE void mime_encode_block_scalar(uint8_t *text, const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
    memcpy(text, mime_pair[bits >> 12], 2);
    memcpy(text + 2, mime_pair[bits & 4095], 2);
}

MIME_INLINE int mime_differs_block_scalar(const uint8_t *text, const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
    uint16_t again[2], given[2];
    memcpy(&again[0], mime_pair[bits >> 12], 2);
    memcpy(&again[1], mime_pair[bits & 4095], 2);
    memcpy(given, text, 4);
    return (again[0] ^ given[0]) | (again[1] ^ given[1]);
}

MIME_INLINE int mime_foreign_block_scalar(const uint8_t *text)
{
    return (mime_value[text[0]] | mime_value[text[1]] | mime_value[text[2]] | mime_value[text[3]]) & 128;
}

/* ---- lines in terms of blocks: inlined into each level, so that the calls through pointers vanish ---- */

typedef void (*mime_decode_block)(uint8_t *bytes, const uint8_t *text);
typedef void (*mime_encode_block)(uint8_t *text, const uint8_t *bytes);
typedef int (*mime_differs_block)(const uint8_t *text, const uint8_t *bytes);
typedef int (*mime_foreign_block)(const uint8_t *text);

MIME_INLINE void mime_put_newline(uint8_t *text, unsigned width)
{
    if (width == 1) {
        text[0] = '\n';
    } else if (width == 2) {
        text[0] = '\r';
        text[1] = '\n';
    }
}

MIME_INLINE int mime_newline_at(const uint8_t *text, size_t left)
{
    if (left >= 1 && text[0] == '\n')
        return 1;
    return left >= 2 && text[0] == '\r' && text[1] == '\n' ? 2 : 0;
}

MIME_INLINE void mime_decode_with(uint8_t *bytes, const uint8_t *text, size_t lines, size_t line, unsigned width,
                                  size_t block, mime_decode_block decode)
{
    for (; lines > 0; lines--) {
        size_t at;
        for (at = 0; at + block <= line; at += block)
            decode(bytes + at / 4 * 3, text + at);
        if (at < line)
            decode(bytes + (line - block) / 4 * 3, text + line - block);
        text += line + width;
        bytes += line / 4 * 3;
    }
}

MIME_INLINE void mime_encode_with(uint8_t *text, const uint8_t *bytes, size_t lines, size_t line, unsigned width,
                                  size_t block, mime_encode_block encode)
{
    for (; lines > 0; lines--) {
        size_t at;
        for (at = 0; at + block <= line; at += block)
            encode(text + at, bytes + at / 4 * 3);
        if (at < line)
            encode(text + line - block, bytes + (line - block) / 4 * 3);
        mime_put_newline(text + line, width);
        text += line + width;
        bytes += line / 4 * 3;
    }
}

/* Whether the lines are not what their bytes encode to; newlines were looked at when the lines were counted. */
MIME_INLINE int mime_differs_with(const uint8_t *text, const uint8_t *bytes, size_t lines, size_t line,
                                  unsigned width, size_t block, mime_differs_block differs)
{
    int found = 0;
    for (; lines > 0; lines--) {
        size_t at;
        for (at = 0; at + block <= line; at += block)
            found |= differs(text + at, bytes + at / 4 * 3);
        if (at < line)
            found |= differs(text + line - block, bytes + (line - block) / 4 * 3);
        text += line + width;
        bytes += line / 4 * 3;
    }
    return found;
}

/* How many lines of exactly `line` characters of the alphabet, each with its newline, begin the text. */
MIME_INLINE size_t mime_count_with(const uint8_t *text, size_t size, size_t line, int width, size_t block,
                                   mime_foreign_block foreign)
{
    size_t lines = 0;
    for (; size >= line + (size_t)width; lines++) {
        size_t at;
        int found = mime_newline_at(text + line, size - line) != width;
        for (at = 0; at + block <= line; at += block)
            found |= foreign(text + at);
        if (at < line)
            found |= foreign(text + line - block);
        if (found)
            break;
        text += line + (size_t)width;
        size -= line + (size_t)width;
    }
    return lines;
}

/* 76 characters are what nearly all mail has: a constant unrolls the line. */
#define MIME_LINES(level, target, block, shorter)                                                                    \
    target static void mime_decode_##level(uint8_t *bytes, const uint8_t *text, size_t lines, size_t line,           \
                                           unsigned width)                                                           \
    {                                                                                                                \
        if (line < block)                                                                                            \
            mime_decode_##shorter(bytes, text, lines, line, width);                                                  \
        else if (line == 76)                                                                                         \
            mime_decode_with(bytes, text, lines, 76, width, block, mime_decode_block_##level);                       \
        else                                                                                                         \
            mime_decode_with(bytes, text, lines, line, width, block, mime_decode_block_##level);                     \
    }                                                                                                                \
    target static void mime_encode_##level(uint8_t *text, const uint8_t *bytes, size_t lines, size_t line,           \
                                           unsigned width)                                                           \
    {                                                                                                                \
        if (line < block)                                                                                            \
            mime_encode_##shorter(text, bytes, lines, line, width);                                                  \
        else if (line == 76)                                                                                         \
            mime_encode_with(text, bytes, lines, 76, width, block, mime_encode_block_##level);                       \
        else                                                                                                         \
            mime_encode_with(text, bytes, lines, line, width, block, mime_encode_block_##level);                     \
    }                                                                                                                \
    target static int mime_differs_##level(const uint8_t *text, const uint8_t *bytes, size_t lines, size_t line,     \
                                           unsigned width)                                                           \
    {                                                                                                                \
        if (line < block)                                                                                            \
            return mime_differs_##shorter(text, bytes, lines, line, width);                                          \
        if (line == 76)                                                                                              \
            return mime_differs_with(text, bytes, lines, 76, width, block, mime_differs_block_##level);              \
        return mime_differs_with(text, bytes, lines, line, width, block, mime_differs_block_##level);                \
    }                                                                                                                \
    target static size_t mime_count_##level(const uint8_t *text, size_t size, size_t line, int width)                \
    {                                                                                                                \
        if (line < block)                                                                                            \
            return mime_count_##shorter(text, size, line, width);                                                    \
        if (line == 76)                                                                                              \
            return mime_count_with(text, size, 76, width, block, mime_foreign_block_##level);                        \
        return mime_count_with(text, size, line, width, block, mime_foreign_block_##level);                          \
    }

/* ---- level scalar ---- */

MIME_LINES(scalar, , 4, scalar)

/* How many characters of the alphabet begin the text. */
static size_t mime_run_scalar(const uint8_t *text, size_t size)
{
    size_t at = 0;
    while (at < size && mime_value[text[at]] < 64)
        at++;
    return at;
}

/* Where the line behind the first empty line begins; `size` when there is none. */
static size_t mime_behind_empty_line_scalar(const uint8_t *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        const uint8_t *found = memchr(text + at, '\n', size - at);
        int width;
        if (found == NULL)
            break;
        at = (size_t)(found - text) + 1;
        width = mime_newline_at(text + at, size - at);
        if (width > 0)
            return at + (size_t)width;
    }
    return size;
}

#if STRONGROOM_X86

/* ---- level avx2: 32 characters, 24 bytes ---- */

STRONGROOM_AVX2 MIME_INLINE void mime_decode_block_avx2(uint8_t *bytes, const uint8_t *text)
{
    /* what to add to a character, by its high nibble; '/' takes the place before that of '+' */
    const __m256i add = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
    __m256i value = _mm256_loadu_si256((const __m256i *)text);
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(value, 4), _mm256_set1_epi8(15));
    __m256i slash = _mm256_cmpeq_epi8(value, _mm256_set1_epi8('/'));
    value = _mm256_add_epi8(value, _mm256_shuffle_epi8(add, _mm256_add_epi8(high, slash)));
    value = _mm256_maddubs_epi16(value, _mm256_set1_epi32(0x01400140));
    value = _mm256_madd_epi16(value, _mm256_set1_epi32(0x00011000));
    value = _mm256_shuffle_epi8(value, order);
    value = _mm256_permutevar8x32_epi32(value, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
    _mm_storeu_si128((__m128i *)bytes, _mm256_castsi256_si128(value));
    _mm_storel_epi64((__m128i *)(bytes + 16), _mm256_extracti128_si256(value, 1));
}

STRONGROOM_AVX2 MIME_INLINE __m256i mime_characters_avx2(const uint8_t *bytes)
{
    /* both loads stay inside the 24 bytes: 0..15, of which 12 are used, and 8..23, of which the last 12 */
    const __m256i order = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 5, 4, 6, 5, 8, 7, 9, 8,
                                           11, 10, 12, 11, 14, 13, 15, 14);
    /* what to add to a value: 26 small letters, ten digits, '+', '/', and at 13 the capital letters */
    const __m256i add = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0));
    __m256i value = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)bytes)),
        _mm_loadu_si128((const __m128i *)(bytes + 8)), 1);
    __m256i odd, place;
    value = _mm256_shuffle_epi8(value, order);
    odd = _mm256_mullo_epi16(_mm256_and_si256(value, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
    value = _mm256_mulhi_epu16(_mm256_and_si256(value, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
    value = _mm256_or_si256(value, odd);
    place = _mm256_subs_epu8(value, _mm256_set1_epi8(51));
    place = _mm256_or_si256(
        place, _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), value), _mm256_set1_epi8(13)));
    return _mm256_add_epi8(value, _mm256_shuffle_epi8(add, place));
}

STRONGROOM_AVX2 MIME_INLINE void mime_encode_block_avx2(uint8_t *text, const uint8_t *bytes)
{
    _mm256_storeu_si256((__m256i *)text, mime_characters_avx2(bytes));
}

STRONGROOM_AVX2 MIME_INLINE int mime_differs_block_avx2(const uint8_t *text, const uint8_t *bytes)
{
    __m256i other = _mm256_xor_si256(mime_characters_avx2(bytes), _mm256_loadu_si256((const __m256i *)text));
    return !_mm256_testz_si256(other, other);
}

/* Not zero in each place that holds no character of the alphabet: one bit for each class of high nibbles. */
STRONGROOM_AVX2 MIME_INLINE __m256i mime_foreign_avx2(const uint8_t *text)
{
    const __m256i low = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10));
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i value = _mm256_loadu_si256((const __m256i *)text);
    return _mm256_and_si256(
        _mm256_shuffle_epi8(low, _mm256_and_si256(value, nibble)),
        _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi32(value, 4), nibble)));
}

STRONGROOM_AVX2 MIME_INLINE int mime_foreign_block_avx2(const uint8_t *text)
{
    __m256i foreign = mime_foreign_avx2(text);
    return !_mm256_testz_si256(foreign, foreign);
}

MIME_LINES(avx2, STRONGROOM_AVX2, 32, scalar)

STRONGROOM_AVX2 static size_t mime_run_avx2(const uint8_t *text, size_t size)
{
    size_t at;
    for (at = 0; at + 32 <= size; at += 32) {
        __m256i good = _mm256_cmpeq_epi8(mime_foreign_avx2(text + at), _mm256_setzero_si256());
        uint32_t bad = ~(uint32_t)_mm256_movemask_epi8(good);
        if (bad)
            return at + (size_t)__builtin_ctz(bad);
    }
    return at + mime_run_scalar(text + at, size - at);
}

STRONGROOM_AVX2 static size_t mime_behind_empty_line_avx2(const uint8_t *text, size_t size)
{
    const __m256i feed = _mm256_set1_epi8('\n');
    const __m256i back = _mm256_set1_epi8('\r');
    size_t at;
    for (at = 0; at + 34 <= size; at += 32) {
        __m256i here = _mm256_loadu_si256((const __m256i *)(text + at));
        __m256i next = _mm256_loadu_si256((const __m256i *)(text + at + 1));
        __m256i follows = _mm256_or_si256(_mm256_cmpeq_epi8(next, feed), _mm256_cmpeq_epi8(next, back));
        uint32_t found = (uint32_t)_mm256_movemask_epi8(
            _mm256_and_si256(_mm256_cmpeq_epi8(here, feed), follows));
        for (; found; found &= found - 1) {
            size_t place = at + (size_t)__builtin_ctz(found) + 1;
            int width = mime_newline_at(text + place, size - place);
            if (width > 0)
                return place + (size_t)width;
        }
    }
    return at + mime_behind_empty_line_scalar(text + at, size - at);
}

/* ---- level avx512: 64 characters, 48 bytes ---- */

STRONGROOM_AVX512 MIME_INLINE void mime_decode_block_avx512(uint8_t *bytes, const uint8_t *text)
{
    const __m512i order = _mm512_set_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 61, 62, 56, 57, 58, 52, 53, 54, 48, 49, 50, 44, 45, 46, 40,
        41, 42, 36, 37, 38, 32, 33, 34, 28, 29, 30, 24, 25, 26, 20, 21, 22, 16, 17, 18, 12, 13, 14, 8, 9, 10, 4, 5, 6,
        0, 1, 2);
    __m512i value = _mm512_permutex2var_epi8(_mm512_loadu_si512(mime_value), _mm512_loadu_si512(text),
                                             _mm512_loadu_si512(mime_value + 64));
    value = _mm512_maddubs_epi16(value, _mm512_set1_epi32(0x01400140));
    value = _mm512_madd_epi16(value, _mm512_set1_epi32(0x00011000));
    value = _mm512_permutexvar_epi8(order, value);
    _mm256_storeu_si256((__m256i *)bytes, _mm512_castsi512_si256(value));
    _mm_storeu_si128((__m128i *)(bytes + 32), _mm512_extracti32x4_epi32(value, 2));
}

STRONGROOM_AVX512 MIME_INLINE __m512i mime_characters_avx512(const uint8_t *bytes)
{
    const __m512i order = _mm512_set_epi8(
        46, 47, 45, 46, 43, 44, 42, 43, 40, 41, 39, 40, 37, 38, 36, 37, 34, 35, 33, 34, 31, 32, 30, 31, 28, 29, 27, 28,
        25, 26, 24, 25, 22, 23, 21, 22, 19, 20, 18, 19, 16, 17, 15, 16, 13, 14, 12, 13, 10, 11, 9, 10, 7, 8, 6, 7, 4, 5,
        3, 4, 1, 2, 0, 1);
    const __m512i shifts = _mm512_set1_epi64(0x3036242a1016040a);
    __m512i value = _mm512_inserti32x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)bytes)),
                                       _mm_loadu_si128((const __m128i *)(bytes + 32)), 2);
    value = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(order, value));
    return _mm512_permutexvar_epi8(value, _mm512_loadu_si512(mime_alphabet));
}

STRONGROOM_AVX512 MIME_INLINE void mime_encode_block_avx512(uint8_t *text, const uint8_t *bytes)
{
    _mm512_storeu_si512(text, mime_characters_avx512(bytes));
}

STRONGROOM_AVX512 MIME_INLINE int mime_differs_block_avx512(const uint8_t *text, const uint8_t *bytes)
{
    return _mm512_cmpneq_epi8_mask(mime_characters_avx512(bytes), _mm512_loadu_si512(text)) != 0;
}

/* One bit for each place that holds no character of the alphabet. */
STRONGROOM_AVX512 MIME_INLINE uint64_t mime_foreign_avx512(const uint8_t *text)
{
    __m512i value = _mm512_loadu_si512(text);
    __m512i found = _mm512_permutex2var_epi8(_mm512_loadu_si512(mime_value), value,
                                             _mm512_loadu_si512(mime_value + 64));
    return _mm512_movepi8_mask(_mm512_or_si512(found, value));
}

STRONGROOM_AVX512 MIME_INLINE int mime_foreign_block_avx512(const uint8_t *text)
{
    return mime_foreign_avx512(text) != 0;
}

MIME_LINES(avx512, STRONGROOM_AVX512, 64, avx2)

STRONGROOM_AVX512 static size_t mime_run_avx512(const uint8_t *text, size_t size)
{
    size_t at;
    for (at = 0; at + 64 <= size; at += 64) {
        uint64_t bad = mime_foreign_avx512(text + at);
        if (bad)
            return at + (size_t)__builtin_ctzll(bad);
    }
    return at + mime_run_avx2(text + at, size - at);
}

STRONGROOM_AVX512 static size_t mime_behind_empty_line_avx512(const uint8_t *text, size_t size)
{
    const __m512i feed = _mm512_set1_epi8('\n');
    const __m512i back = _mm512_set1_epi8('\r');
    size_t at;
    for (at = 0; at + 66 <= size; at += 64) {
        __m512i next = _mm512_loadu_si512(text + at + 1);
        uint64_t found = _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(text + at), feed);
        found &= _mm512_cmpeq_epi8_mask(next, feed) | _mm512_cmpeq_epi8_mask(next, back);
        for (; found; found &= found - 1) {
            size_t place = at + (size_t)__builtin_ctzll(found) + 1;
            int width = mime_newline_at(text + place, size - place);
            if (width > 0)
                return place + (size_t)width;
        }
    }
    return at + mime_behind_empty_line_avx2(text + at, size - at);
}

#endif

/* ---- the level that runs ---- */

typedef struct {
    const char *name;
    void (*decode)(uint8_t *bytes, const uint8_t *text, size_t lines, size_t line, unsigned width);
    void (*encode)(uint8_t *text, const uint8_t *bytes, size_t lines, size_t line, unsigned width);
    int (*differs)(const uint8_t *text, const uint8_t *bytes, size_t lines, size_t line, unsigned width);
    size_t (*count)(const uint8_t *text, size_t size, size_t line, int width);
    size_t (*run)(const uint8_t *text, size_t size);
    size_t (*behind_empty_line)(const uint8_t *text, size_t size);
} mime_level;

#define MIME_LEVEL(level)                                                                                  \
    {#level, mime_decode_##level, mime_encode_##level, mime_differs_##level, mime_count_##level,           \
     mime_run_##level, mime_behind_empty_line_##level}

static const mime_level mime_levels[] = {
    MIME_LEVEL(scalar),
#if STRONGROOM_X86
    MIME_LEVEL(avx2),
    MIME_LEVEL(avx512),
#endif
};
static mime_level mime;

/* Fill the tables and take the level of a demand; its name, NULL when the demand cannot be met. */
static const char *mime_begin(const char *demand)
{
    int level = strongroom_simd_level(demand);
    unsigned i;
    if (level < 0)
        return NULL;
    mime = mime_levels[level];
    memset(mime_value, 255, sizeof mime_value);
    for (i = 0; i < 64; i++)
        mime_value[(uint8_t)mime_alphabet[i]] = (uint8_t)i;
    for (i = 0; i < 4096; i++) {
        mime_pair[i][0] = (uint8_t)mime_alphabet[i >> 6];
        mime_pair[i][1] = (uint8_t)mime_alphabet[i & 63];
    }
    return mime.name;
}

#endif
