/*
 * Cut points of content-defined chunking: native code of cext/gear.pyx.
 *
 * A place is the index of a byte; its hash covers that byte and the 31 before it. A chunk that ends after place p has the
 * end p + 1. Both searches below return the first place whose hash has no bit of the mask, so that cuts cannot differ.
 */
#ifndef STRONGROOM_GEAR_H
#define STRONGROOM_GEAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"

#define GEAR_WINDOW 32

typedef struct {
    uint32_t words[256];
    uint8_t planes[4][256]; /* byte k of every word, for the lookup in registers */
    size_t size_min, size_normal, size_max;
    uint32_t mask_strict, mask_loose;
    int level;
} gear_params;

static void gear_load(gear_params *params, const uint8_t *table)
{
    for (int i = 0; i < 256; i++) {
        uint32_t word = 0;
        for (int k = 0; k < 4; k++) {
            params->planes[k][i] = table[4 * i + k];
            word |= (uint32_t)table[4 * i + k] << (8 * k);
        }
        params->words[i] = word;
    }
}

/* The first place in [from, to) that fits the mask, or `to`; the window before `from` must be readable. */
static size_t gear_find_scalar(const uint8_t *data, size_t from, size_t to, const uint32_t *words, uint32_t mask)
{
    uint32_t hash = 0;
    size_t place;
    for (place = from - (GEAR_WINDOW - 1); place < from; place++)
        hash = (hash << 1) + words[data[place]];
    for (; place + 4 <= to; place += 4) {
        uint32_t a = (hash << 1) + words[data[place]];
        uint32_t b = (a << 1) + words[data[place + 1]];
        uint32_t c = (b << 1) + words[data[place + 2]];
        hash = (c << 1) + words[data[place + 3]];
        if (!(a & mask))
            return place;
        if (!(b & mask))
            return place + 1;
        if (!(c & mask))
            return place + 2;
        if (!(hash & mask))
            return place + 3;
    }
    for (; place < to; place++) {
        hash = (hash << 1) + words[data[place]];
        if (!(hash & mask))
            return place;
    }
    return to;
}

#if STRONGROOM_X86
#include <immintrin.h>

/*
 * Sixteen places a vector, sixty-four a turn, in order. The bytes are looked up in registers, one plane of the words after
 * the other. The hash of a place is a sum over its window, so it comes by doubling: from sums over n places
 *
 *     sum(2n, i) = sum(n, i) + (sum(n, i - n) << n)        n = 1, 2, 4, 8, 16
 *
 * where what lies n places back comes from the same vector and the one before it, which is kept for each n.
 */
typedef struct {
    __m512i table[4][4];
    __m512i back[5]; /* sums over 1, 2, 4, 8, 16 of the sixteen places before */
} gear_state;

STRONGROOM_AVX512 static inline void gear_words_avx512(const gear_state *state, __m512i bytes, __m512i word[4])
{
    const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i turned = _mm512_permutexvar_epi32(turn, bytes); /* so that what is unpacked below is in order */
    const __mmask64 upper = _mm512_movepi8_mask(turned);
    __m512i plane[4];
    for (int k = 0; k < 4; k++)
        plane[k] = _mm512_mask_blend_epi8(
            upper, _mm512_permutex2var_epi8(state->table[k][0], turned, state->table[k][1]),
            _mm512_permutex2var_epi8(state->table[k][2], turned, state->table[k][3]));
    const __m512i low01 = _mm512_unpacklo_epi8(plane[0], plane[1]), high01 = _mm512_unpackhi_epi8(plane[0], plane[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(plane[2], plane[3]), high23 = _mm512_unpackhi_epi8(plane[2], plane[3]);
    word[0] = _mm512_unpacklo_epi16(low01, low23);
    word[1] = _mm512_unpackhi_epi16(low01, low23);
    word[2] = _mm512_unpacklo_epi16(high01, high23);
    word[3] = _mm512_unpackhi_epi16(high01, high23);
}

/* The hashes of the sixteen places whose words are given. */
STRONGROOM_AVX512 static inline __m512i gear_hashes_avx512(gear_state *state, __m512i sum)
{
    __m512i before;
#define GEAR_DOUBLE(step, places) \
    before = _mm512_alignr_epi32(sum, state->back[step], 16 - (places)); \
    state->back[step] = sum; \
    sum = _mm512_add_epi32(sum, _mm512_slli_epi32(before, (places)));
    GEAR_DOUBLE(0, 1)
    GEAR_DOUBLE(1, 2)
    GEAR_DOUBLE(2, 4)
    GEAR_DOUBLE(3, 8)
    before = state->back[4];
    state->back[4] = sum;
    return _mm512_add_epi32(sum, _mm512_slli_epi32(before, 16));
}

STRONGROOM_AVX512 static size_t gear_find_avx512(const uint8_t *data, size_t from, size_t to, gear_params *params,
                                                 uint32_t mask)
{
    const __m512i masks = _mm512_set1_epi32((int)mask);
    gear_state state;
    __m512i word[4];
    size_t place = from;
    if (from < GEAR_WINDOW || to - from < 64)
        return gear_find_scalar(data, from, to, params->words, mask);
    for (int k = 0; k < 4; k++)
        for (int q = 0; q < 4; q++)
            state.table[k][q] = _mm512_loadu_si512(params->planes[k] + 64 * q);
    for (int k = 0; k < 5; k++)
        state.back[k] = _mm512_setzero_si512();
    gear_words_avx512(&state, _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(data + from - 32))), word);
    gear_hashes_avx512(&state, word[0]);
    gear_hashes_avx512(&state, word[1]);
    for (; place + 64 <= to; place += 64) {
        gear_words_avx512(&state, _mm512_loadu_si512(data + place), word);
        uint64_t fits = 0;
        for (int q = 0; q < 4; q++)
            fits |= (uint64_t)_mm512_testn_epi32_mask(gear_hashes_avx512(&state, word[q]), masks) << (16 * q);
        if (fits)
            return place + (size_t)__builtin_ctzll(fits);
    }
    return gear_find_scalar(data, place, to, params->words, mask);
}
#endif

static size_t gear_find(const uint8_t *data, size_t from, size_t to, gear_params *params, uint32_t mask)
{
#if STRONGROOM_X86
    if (params->level >= STRONGROOM_LEVEL_AVX512)
        return gear_find_avx512(data, from, to, params, mask);
#endif
    return gear_find_scalar(data, from, to, params->words, mask);
}

/* Bytes of the first chunk of `data`, which has `length` > 0 bytes. */
static size_t gear_next(const uint8_t *data, size_t length, gear_params *params)
{
    size_t limit = params->size_max < length ? params->size_max : length;
    size_t normal = params->size_normal < limit ? params->size_normal : limit;
    size_t place;
    if (length <= params->size_min)
        return length;
    place = gear_find(data, params->size_min - 1, normal - 1, params, params->mask_strict);
    if (place == normal - 1)
        place = gear_find(data, normal - 1, limit, params, params->mask_loose);
    return place < limit ? place + 1 : limit;
}

#endif
