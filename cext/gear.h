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

#define GEAR_LANES 16
#ifndef GEAR_ROUNDS_MAX
#define GEAR_ROUNDS_MAX 8
#endif

/*
 * Sixteen lanes look at one stretch of GEAR_LANES * step places, step = 64 * rounds - 32: lane k has the places from
 * start + k * step on and reads the 32 bytes before them first, to fill its window. Returns a bit for each lane that has
 * a place that fits. One round takes 64 bytes of each lane; transposed, a vector holds four bytes of each lane.
 */
STRONGROOM_AVX512 static unsigned gear_lanes_avx512(const uint8_t *first, size_t step, size_t rounds,
                                                    uint8_t (*planes)[256], uint32_t mask)
{
    __m512i table[4][4];
    const __m512i regroup = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i masks = _mm512_set1_epi32((int)mask);
    __m512i hash = _mm512_setzero_si512();
    __m512i least = _mm512_set1_epi32(-1);
    for (int k = 0; k < 4; k++)
        for (int q = 0; q < 4; q++)
            table[k][q] = _mm512_loadu_si512(planes[k] + 64 * q);
    for (size_t round = 0; round < rounds; round++) {
        for (int quarter = 0; quarter < 4; quarter++) {
            const uint8_t *at = first + 64 * round + 16 * quarter;
            __m512i row[4], turned[4];
#define GEAR_ROW(r) \
            row[r] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(at + (r) * step))); \
            row[r] = _mm512_mask_broadcast_i32x4(row[r], 0x00f0, _mm_loadu_si128((const __m128i *)(at + ((r) + 4) * step))); \
            row[r] = _mm512_mask_broadcast_i32x4(row[r], 0x0f00, _mm_loadu_si128((const __m128i *)(at + ((r) + 8) * step))); \
            row[r] = _mm512_mask_broadcast_i32x4(row[r], 0xf000, _mm_loadu_si128((const __m128i *)(at + ((r) + 12) * step)));
            GEAR_ROW(0) GEAR_ROW(1) GEAR_ROW(2) GEAR_ROW(3)
            __m512i a = _mm512_unpacklo_epi32(row[0], row[1]), b = _mm512_unpackhi_epi32(row[0], row[1]);
            __m512i c = _mm512_unpacklo_epi32(row[2], row[3]), d = _mm512_unpackhi_epi32(row[2], row[3]);
            turned[0] = _mm512_unpacklo_epi64(a, c);
            turned[1] = _mm512_unpackhi_epi64(a, c);
            turned[2] = _mm512_unpacklo_epi64(b, d);
            turned[3] = _mm512_unpackhi_epi64(b, d);
            for (int t = 0; t < 4; t++) {
                __m512i bytes = _mm512_shuffle_epi8(turned[t], regroup);
                __mmask64 upper = _mm512_movepi8_mask(bytes);
                __m512i plane[4];
                for (int k = 0; k < 4; k++)
                    plane[k] = _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(table[k][0], bytes, table[k][1]),
                                                      _mm512_permutex2var_epi8(table[k][2], bytes, table[k][3]));
                __m512i low01 = _mm512_unpacklo_epi8(plane[0], plane[1]), high01 = _mm512_unpackhi_epi8(plane[0], plane[1]);
                __m512i low23 = _mm512_unpacklo_epi8(plane[2], plane[3]), high23 = _mm512_unpackhi_epi8(plane[2], plane[3]);
                __m512i word[4] = {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                                   _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
                for (int k = 0; k < 4; k++) {
                    hash = _mm512_add_epi32(_mm512_add_epi32(hash, hash), word[k]);
                    least = _mm512_min_epu32(least, _mm512_and_si512(hash, masks));
                }
            }
            if (round == 0 && quarter == 1)
                least = _mm512_set1_epi32(-1); /* the window is full from here on */
        }
    }
    return _mm512_testn_epi32_mask(least, least);
}

STRONGROOM_AVX512 static size_t gear_find_avx512(const uint8_t *data, size_t from, size_t to, gear_params *params,
                                                 uint32_t mask)
{
    size_t place = from;
    while (place < to) {
        size_t left = to - place, rounds = 1, step, start = place;
        while (rounds < GEAR_ROUNDS_MAX && GEAR_LANES * (64 * rounds - 32) < left)
            rounds++;
        step = 64 * rounds - 32;
        if (GEAR_LANES * step > left) { /* the last stretch ends with the region and covers some places again */
            if (to - from < GEAR_LANES * step)
                return gear_find_scalar(data, place, to, params->words, mask);
            start = to - GEAR_LANES * step;
        }
        unsigned lanes = gear_lanes_avx512(data + start - 32, step, rounds, params->planes, mask);
        if (lanes) {
            size_t lane = start + (size_t)__builtin_ctz(lanes) * step;
            return gear_find_scalar(data, lane, lane + step, params->words, mask);
        }
        place = start + GEAR_LANES * step;
    }
    return to;
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
