/*
 * Base64 bodies in mail: find them, decode them, write them again.
 *
 * Works on whole lines: `line` characters (a multiple of 4), then `width` newline bytes (0 none, 1 LF, 2 CRLF). Each level has
 * a block of 4, 32 or 64 characters; a line that is no multiple of the block ends with a block that overlaps the one
 * before, so that nothing is read or written outside the line. cext/reference/mime.py says what is a body.
 */
#ifndef STRONGROOM_MIME_H
#define STRONGROOM_MIME_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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

#define MIME_BODY_BYTES_MIN 2048
#define MIME_BODY_CHARACTERS_MIN ((MIME_BODY_BYTES_MIN + 2) / 3 * 4)
#define MIME_LINE_CHARACTERS_MAX 996
#define MIME_ONE_LINE_CHARACTERS_MAX (64 << 20)
#define MIME_FIELD_NAME_BYTES_MAX 77
#define MIME_STEP_CHARACTERS 4096 /* one long line is worked on as lines of this length without newline */
#define MIME_RECIPE_BODY_BYTES_MAX 24 /* two varints of 10 bytes, one of 2, the newline */

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
    uint8_t again[4];
    mime_encode_block_scalar(again, bytes);
    return memcmp(again, text, 4) != 0;
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

/* ---- bodies ---- */

typedef struct {
    size_t start;       /* of its text in the span */
    size_t end;         /* behind its text */
    size_t bytes;       /* decoded */
    unsigned line;      /* characters of a line; 0: one line */
    unsigned newline;   /* 0 none, 1 LF, 2 CRLF: its width as well */
} mime_body;

typedef struct {
    mime_body *items;
    size_t count;
    size_t room;
} mime_bodies;

static int mime_add(mime_bodies *bodies, mime_body body)
{
    if (bodies->count == bodies->room) {
        size_t room = bodies->room ? bodies->room * 2 : 64;
        mime_body *items = realloc(bodies->items, room * sizeof *items);
        if (items == NULL)
            return -1;
        bodies->items = items;
        bodies->room = room;
    }
    bodies->items[bodies->count++] = body;
    return 0;
}

/* Whether a span begins as mail does: a field name and ':', or the "From " of mbox. */
static int mime_looks_like_mail(const uint8_t *text, size_t size)
{
    size_t at;
    for (at = 0; at < size && at <= MIME_FIELD_NAME_BYTES_MAX; at++) {
        if (text[at] == ':')
            return at > 0;
        if (text[at] <= ' ' || text[at] > '~')
            break;
    }
    return size >= 5 && memcmp(text, "From ", 5) == 0;
}

/* Characters of a last line of at most `most`, with '=' if it has; 0 when it is none. `newline` 0: any. */
static size_t mime_last_line(const uint8_t *text, size_t size, size_t most, int newline)
{
    size_t run = mime.run(text, size < most ? size : most);
    size_t characters = run;
    int behind;
    while (characters < size && characters < run + 2 && text[characters] == '=')
        characters++;
    if (characters == 0 || characters % 4 != 0 || characters > most)
        return 0;
    if (characters - run == 1 && mime_value[text[run - 1]] & 3)
        return 0;
    if (characters - run == 2 && mime_value[text[run - 1]] & 15)
        return 0;
    if (characters == size)
        return characters;
    behind = mime_newline_at(text + characters, size - characters);
    return behind > 0 && (newline == 0 || behind == newline) ? characters : 0;
}

static size_t mime_decoded_bytes(const uint8_t *text, size_t characters)
{
    if (characters == 0)
        return 0;
    return characters / 4 * 3 - (text[characters - 1] == '=') - (text[characters - 2] == '=');
}

/* The body that begins at `start`, right behind an empty line; its `bytes` are 0 when there is none. */
static mime_body mime_body_at(const uint8_t *text, size_t size, size_t start)
{
    mime_body body = {start, start, 0, 0, 0};
    const uint8_t *first = text + start;
    size_t left = size - start;
    size_t run = mime.run(first, left < MIME_LINE_CHARACTERS_MAX + 1 ? left : MIME_LINE_CHARACTERS_MAX + 1);
    size_t full, last, at;
    int newline;
    if (run > MIME_LINE_CHARACTERS_MAX) {
        last = mime_last_line(first, left, MIME_ONE_LINE_CHARACTERS_MAX, 0);
        body.end = start + last;
        body.bytes = mime_decoded_bytes(first, last);
    } else if (run >= 4 && run % 4 == 0 && (newline = mime_newline_at(first + run, left - run)) > 0) {
        full = mime.count(first, left, run, newline);
        at = full * (run + (size_t)newline);
        last = mime_last_line(first + at, left - at, run, newline);
        body.end = start + at + last - (last == 0 ? (size_t)newline : 0);
        body.bytes = full * run / 4 * 3 + mime_decoded_bytes(first + at, last);
        body.line = (unsigned)run;
        body.newline = (unsigned)newline;
    }
    if (body.bytes < MIME_BODY_BYTES_MIN)
        body.bytes = 0;
    return body;
}

/* Add the bodies of one span; -1: out of memory. */
static int mime_find(mime_bodies *bodies, const uint8_t *text, size_t size)
{
    size_t at = 0;
    if (size < MIME_BODY_CHARACTERS_MIN || !mime_looks_like_mail(text, size))
        return 0;
    for (;;) {
        size_t start = at + mime.behind_empty_line(text + at, size - at);
        mime_body body;
        if (size - start < MIME_BODY_CHARACTERS_MIN)
            return 0;
        body = mime_body_at(text, size, start);
        if (body.bytes > 0) {
            if (mime_add(bodies, body) < 0)
                return -1;
            at = body.end;
        } else {
            at = start - 1; /* its newline may end the line before another empty one */
        }
    }
}

/* Decode whole lines and hold them against the text; 0 when they are not the same. */
static int mime_decode_lines(uint8_t *bytes, const uint8_t *text, size_t lines, size_t line, unsigned width)
{
    size_t group = 8192 / line + 1; /* small enough to be read again from the nearest cache */
    while (lines > 0) {
        size_t now = lines < group ? lines : group;
        mime.decode(bytes, text, now, line, width);
        if (mime.differs(text, bytes, now, line, width))
            return 0;
        bytes += now * (line / 4 * 3);
        text += now * (line + width);
        lines -= now;
    }
    return 1;
}

/* The last group of a body, of 1 or 2 bytes. */
static void mime_encode_rest(uint8_t *text, const uint8_t *bytes, size_t count)
{
    uint8_t three[3] = {bytes[0], count == 2 ? bytes[1] : 0, 0};
    mime_encode_block_scalar(text, three);
    text[3] = '=';
    if (count == 1)
        text[2] = '=';
}

/*
 * The form of a body with `bytes` decoded bytes: full lines, then whole groups of the last line, then the bytes of a
 * padded group (0..2).
 */
typedef struct {
    size_t line;
    size_t lines;
    size_t groups;
    size_t rest;
} mime_form;

static mime_form mime_form_of(size_t bytes, size_t line)
{
    mime_form form;
    size_t characters = (bytes + 2) / 3 * 4;
    form.line = line ? line : MIME_STEP_CHARACTERS;
    form.lines = characters == 0 ? 0 : (characters - 1) / form.line;
    form.rest = bytes % 3;
    form.groups = (bytes - form.lines * (form.line / 4 * 3)) / 3;
    return form;
}

/* Decode one body and verify it; 0 when it would not give its text again. */
static int mime_decode_body(uint8_t *bytes, const uint8_t *text, const mime_body *body)
{
    mime_form form = mime_form_of(body->bytes, body->line);
    size_t last = form.groups * 4;
    uint8_t again[4];
    if (!mime_decode_lines(bytes, text, form.lines, form.line, body->newline))
        return 0;
    bytes += form.lines * (form.line / 4 * 3);
    text += form.lines * (form.line + body->newline);
    if (last > 0 && !mime_decode_lines(bytes, text, 1, last, 0))
        return 0;
    if (form.rest == 0)
        return 1;
    bytes += form.groups * 3;
    text += last;
    bytes[0] = (uint8_t)(mime_value[text[0]] << 2 | mime_value[text[1]] >> 4);
    if (form.rest == 2)
        bytes[1] = (uint8_t)(mime_value[text[1]] << 4 | mime_value[text[2]] >> 2);
    mime_encode_rest(again, bytes, form.rest);
    return memcmp(again, text, 4) == 0;
}

/* Write the text of one body, without a newline behind its last line; returns its end. */
static uint8_t *mime_encode_body(uint8_t *text, const uint8_t *bytes, size_t count, size_t line, unsigned newline)
{
    mime_form form = mime_form_of(count, line);
    mime.encode(text, bytes, form.lines, form.line, newline);
    text += form.lines * (form.line + newline);
    bytes += form.lines * (form.line / 4 * 3);
    if (form.groups > 0)
        mime.encode(text, bytes, 1, form.groups * 4, 0);
    text += form.groups * 4;
    if (form.rest > 0) {
        mime_encode_rest(text, bytes + form.groups * 3, form.rest);
        text += 4;
    }
    return text;
}

/* Characters and newlines of a body; without overflow for all `count` up to 2^60. */
static size_t mime_text_bytes(size_t count, size_t line, unsigned newline)
{
    size_t characters = (count + 2) / 3 * 4;
    return characters + (line && characters ? (characters - 1) / line * newline : 0);
}

/*
 * Write the stream form of a span (text, then each body) and return its end. A body that does not stand the verification is
 * left in the text: `count` is what stayed, the rest has 0 bytes. `out` has room for `size` bytes: a body is shorter than its text.
 */
static uint8_t *mime_write(uint8_t *out, const uint8_t *text, size_t size, mime_body *bodies, size_t *count)
{
    for (;;) {
        uint8_t *to = out;
        size_t at = 0, i;
        for (i = 0; i < *count; i++) {
            memcpy(to, text + at, bodies[i].start - at);
            to += bodies[i].start - at;
            at = bodies[i].end;
        }
        memcpy(to, text + at, size - at);
        to += size - at;
        for (i = 0; i < *count; i++) {
            if (!mime_decode_body(to, text + bodies[i].start, &bodies[i]))
                break;
            to += bodies[i].bytes;
        }
        if (i == *count)
            return to;
        memmove(bodies + i, bodies + i + 1, (*count - i - 1) * sizeof *bodies);
        bodies[--*count].bytes = 0;
    }
}

/* ---- recipes ---- */

static uint8_t *mime_put_varint(uint8_t *out, uint64_t value)
{
    for (; value > 127; value >>= 7)
        *out++ = (uint8_t)(value | 128);
    *out++ = (uint8_t)value;
    return out;
}

/* The recipe of a span; `out` has MIME_RECIPE_BODY_BYTES_MAX for each body. Returns its bytes. */
static size_t mime_write_recipe(uint8_t *out, const mime_body *bodies, size_t count)
{
    uint8_t *to = out;
    size_t at = 0, i;
    for (i = 0; i < count; i++) {
        to = mime_put_varint(to, bodies[i].start - at);
        to = mime_put_varint(to, bodies[i].bytes);
        to = mime_put_varint(to, bodies[i].line);
        *to++ = (uint8_t)bodies[i].newline;
        at = bodies[i].end;
    }
    return (size_t)(to - out);
}

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} mime_reader;

/* One canonical varint of at most 2^63 - 1; -1: it is none. */
static int64_t mime_get_varint(mime_reader *reader)
{
    uint64_t value = 0;
    unsigned shift;
    for (shift = 0; shift < 63 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return byte == 0 && shift > 0 ? -1 : (int64_t)value;
    }
    return -1;
}

/* The next body of a recipe: `start` is the text before it. 0: end, 1: a body, -1: no recipe. */
static int mime_next(mime_reader *reader, mime_body *body)
{
    int64_t before, bytes, line;
    if (reader->at == reader->end)
        return 0;
    before = mime_get_varint(reader);
    bytes = before < 0 ? -1 : mime_get_varint(reader);
    line = bytes < 0 ? -1 : mime_get_varint(reader);
    if (line < 0 || line > MIME_LINE_CHARACTERS_MAX || line % 4 || bytes == 0 || reader->at == reader->end)
        return -1;
    body->start = (size_t)before;
    body->bytes = (size_t)bytes;
    body->line = (unsigned)line;
    body->newline = *reader->at++;
    return body->newline <= 2 && (body->newline == 0) == (line == 0) ? 1 : -1;
}

/* Content bytes of a stream, and in `text` its text bytes; -1: the recipe is none or does not fit. */
static int64_t mime_content_bytes(size_t stream, const uint8_t *recipe, size_t recipe_bytes, size_t *text)
{
    mime_reader reader = {recipe, recipe + recipe_bytes};
    mime_body body;
    size_t left = stream, before = 0, content = 0;
    int more;
    while ((more = mime_next(&reader, &body)) > 0) {
        if (body.bytes > left || body.start > left - body.bytes)
            return -1;
        left -= body.bytes + body.start;
        before += body.start;
        content += mime_text_bytes(body.bytes, body.line, body.newline);
    }
    *text = before + left;
    return more < 0 ? -1 : (int64_t)(content + *text);
}

/* Write the content again; sizes were checked by mime_content_bytes. */
static void mime_join(uint8_t *out, const uint8_t *stream, size_t text, size_t recipe_bytes, const uint8_t *recipe)
{
    mime_reader reader = {recipe, recipe + recipe_bytes};
    const uint8_t *end = stream + text;
    const uint8_t *bytes = end;
    mime_body body;
    while (mime_next(&reader, &body) > 0) {
        memcpy(out, stream, body.start);
        stream += body.start;
        out = mime_encode_body(out + body.start, bytes, body.bytes, body.line, body.newline);
        bytes += body.bytes;
    }
    memcpy(out, stream, (size_t)(end - stream));
}

#endif
