/*
 * Parity over GF(2^8) with the polynomial 0x11d, and CRC-32; see cext/reference/parity.py, the oracle.
 *
 * Two parity slices of k slices d: P = sum of d_i, Q = sum of 2^(k-1-i) d_i, so that Q is built as Q = 2 Q + d, slice after
 * slice. A column of PARITY_BLOCK bytes of P and Q stays in the first cache while all slices pass.
 * CRC-32 is the one of zlib (reflected 0xedb88320): folded with carry-less products where there are any, else by eight tables.
 */
#ifndef STRONGROOM_PARITY_H
#define STRONGROOM_PARITY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd.h"

#define PARITY_BLOCK 4096

#if STRONGROOM_X86
#include <immintrin.h>
#define PARITY_FOLD __attribute__((target("pclmul,sse4.1")))
#endif

static uint32_t parity_crc_tables[8][256];
static int parity_level = 0;
static int parity_folds = 0;

static void parity_prepare(int level)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
        parity_crc_tables[0][byte] = value;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int row = 1; row < 8; row++) {
            uint32_t before = parity_crc_tables[row - 1][byte];
            parity_crc_tables[row][byte] = before >> 8 ^ parity_crc_tables[0][before & 255];
        }
    parity_level = level;
    parity_folds = 0;
#if STRONGROOM_X86
    if (level > STRONGROOM_LEVEL_SCALAR)
        parity_folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

/* -- P and Q ------------------------------------------------------------------------------------- */

static inline uint64_t parity_load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

/* Eight bytes doubled at once. */
static inline uint64_t parity_double64(uint64_t q)
{
    uint64_t high = q & 0x8080808080808080ull;
    return (q ^ high) << 1 ^ (high >> 7) * 0x1d;
}

static void parity_add_scalar(uint8_t *p, uint8_t *q, const uint8_t *data, size_t size)
{
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t d = parity_load64(data + i);
        uint64_t sum = parity_load64(p + i) ^ d;
        uint64_t next = parity_double64(parity_load64(q + i)) ^ d;
        memcpy(p + i, &sum, 8);
        memcpy(q + i, &next, 8);
    }
    for (; i < size; i++) {
        p[i] ^= data[i];
        q[i] = (uint8_t)(q[i] << 1 ^ (q[i] & 0x80 ? 0x1d : 0)) ^ data[i];
    }
}

/* Q doubled where a slice has no bytes. */
static void parity_double(uint8_t *q, size_t size)
{
    for (size_t i = 0; i < size; i++)
        q[i] = (uint8_t)(q[i] << 1 ^ (q[i] & 0x80 ? 0x1d : 0));
}

#if STRONGROOM_X86
STRONGROOM_AVX2 static void parity_add_avx2(uint8_t *p, uint8_t *q, const uint8_t *data, size_t size)
{
    const __m256i polynomial = _mm256_set1_epi8(0x1d);
    const __m256i zero = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= size; i += 32) {
        __m256i d = _mm256_loadu_si256((const __m256i *)(data + i));
        __m256i sum = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i old = _mm256_loadu_si256((const __m256i *)(q + i));
        __m256i carry = _mm256_and_si256(_mm256_cmpgt_epi8(zero, old), polynomial);
        __m256i next = _mm256_xor_si256(_mm256_add_epi8(old, old), carry);
        _mm256_storeu_si256((__m256i *)(p + i), _mm256_xor_si256(sum, d));
        _mm256_storeu_si256((__m256i *)(q + i), _mm256_xor_si256(next, d));
    }
    parity_add_scalar(p + i, q + i, data + i, size - i);
}
#endif

static inline void parity_add(uint8_t *p, uint8_t *q, const uint8_t *data, size_t size)
{
#if STRONGROOM_X86
    if (parity_level > STRONGROOM_LEVEL_SCALAR) {
        parity_add_avx2(p, q, data, size);
        return;
    }
#endif
    parity_add_scalar(p, q, data, size);
}

/* P and Q (slice bytes each, behind one another) of `size` bytes in slices; the last one may be short. */
static void parity_encode(uint8_t *parity, const uint8_t *data, size_t size, size_t slice)
{
    memset(parity, 0, 2 * slice);
    for (size_t column = 0; column < slice; column += PARITY_BLOCK) {
        size_t width = slice - column < PARITY_BLOCK ? slice - column : PARITY_BLOCK;
        uint8_t *p = parity + column, *q = parity + slice + column;
        for (size_t at = 0; at < size; at += slice) {
            size_t held = size - at < slice ? size - at : slice;
            size_t here = held <= column ? 0 : held - column < width ? held - column : width;
            parity_add(p, q, data + at + column, here);
            parity_double(q + here, width - here);
        }
    }
}

/* -- products ------------------------------------------------------------------------------------ */

static uint8_t parity_product(uint8_t a, uint8_t b)
{
    uint8_t sum = 0;
    for (; b; b >>= 1) {
        sum ^= b & 1 ? a : 0;
        a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1d : 0));
    }
    return sum;
}

static void parity_add_product_scalar(uint8_t *target, const uint8_t *source, size_t size, uint8_t factor)
{
    uint8_t row[256];
    for (int value = 0; value < 256; value++)
        row[value] = parity_product((uint8_t)value, factor);
    for (size_t i = 0; i < size; i++)
        target[i] ^= row[source[i]];
}

#if STRONGROOM_X86
STRONGROOM_AVX2 static void parity_add_product_avx2(uint8_t *target, const uint8_t *source, size_t size,
                                                    uint8_t factor)
{
    uint8_t halves[2][16];
    for (int value = 0; value < 16; value++) {
        halves[0][value] = parity_product((uint8_t)value, factor);
        halves[1][value] = parity_product((uint8_t)(value << 4), factor);
    }
    const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)halves[0]));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)halves[1]));
    const __m256i mask = _mm256_set1_epi8(15);
    size_t i = 0;
    for (; i + 32 <= size; i += 32) {
        __m256i s = _mm256_loadu_si256((const __m256i *)(source + i));
        __m256i t = _mm256_loadu_si256((const __m256i *)(target + i));
        __m256i a = _mm256_shuffle_epi8(low, _mm256_and_si256(s, mask));
        __m256i b = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(s, 4), mask));
        _mm256_storeu_si256((__m256i *)(target + i), _mm256_xor_si256(t, _mm256_xor_si256(a, b)));
    }
    parity_add_product_scalar(target + i, source + i, size - i, factor);
}
#endif

static void parity_add_product(uint8_t *target, const uint8_t *source, size_t size, uint8_t factor)
{
#if STRONGROOM_X86
    if (parity_level > STRONGROOM_LEVEL_SCALAR) {
        parity_add_product_avx2(target, source, size, factor);
        return;
    }
#endif
    parity_add_product_scalar(target, source, size, factor);
}

/* -- CRC-32 -------------------------------------------------------------------------------------- */

static uint32_t parity_crc_scalar(uint32_t crc, const uint8_t *data, size_t size)
{
    for (; size >= 8; size -= 8, data += 8) {
        uint32_t a = crc ^ (data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        crc = parity_crc_tables[7][a & 255] ^ parity_crc_tables[6][a >> 8 & 255]
            ^ parity_crc_tables[5][a >> 16 & 255] ^ parity_crc_tables[4][a >> 24]
            ^ parity_crc_tables[3][data[4]] ^ parity_crc_tables[2][data[5]]
            ^ parity_crc_tables[1][data[6]] ^ parity_crc_tables[0][data[7]];
    }
    for (; size; size--, data++)
        crc = crc >> 8 ^ parity_crc_tables[0][(crc ^ *data) & 255];
    return crc;
}

#if STRONGROOM_X86
/* One step of folding: the value moved on by as many bits as `by` says, plus what lies there. */
PARITY_FOLD static inline __m128i parity_fold(__m128i value, __m128i by, __m128i there)
{
    __m128i low = _mm_clmulepi64_si128(value, by, 0x00);
    __m128i high = _mm_clmulepi64_si128(value, by, 0x11);
    return _mm_xor_si128(there, _mm_xor_si128(low, high));
}

/* `size`: at least 64, a multiple of 16. The constants are powers of x modulo the polynomial, all reflected. */
PARITY_FOLD static uint32_t parity_crc_folded(uint32_t crc, const uint8_t *data, size_t size)
{
    const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by_64 = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i words = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i lane[4], value, rest;
    for (int i = 0; i < 4; i++)
        lane[i] = _mm_loadu_si128((const __m128i *)data + i);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128((int)crc));
    for (data += 64, size -= 64; size >= 64; data += 64, size -= 64)
        for (int i = 0; i < 4; i++)
            lane[i] = parity_fold(lane[i], by_512, _mm_loadu_si128((const __m128i *)data + i));
    value = lane[0];
    for (int i = 1; i < 4; i++)
        value = parity_fold(value, by_128, lane[i]);
    for (; size >= 16; data += 16, size -= 16)
        value = parity_fold(value, by_128, _mm_loadu_si128((const __m128i *)data));
    rest = _mm_clmulepi64_si128(value, by_128, 0x10);
    value = _mm_xor_si128(_mm_srli_si128(value, 8), rest);
    rest = _mm_srli_si128(value, 4);
    value = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(value, words), by_64, 0x00), rest);
    rest = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(value, words), barrett, 0x10), words);
    rest = _mm_clmulepi64_si128(rest, barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(value, rest), 1);
}
#endif

static uint32_t parity_crc(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffu;
#if STRONGROOM_X86
    if (parity_folds && size >= 64) {
        size_t whole = size & ~(size_t)15;
        crc = parity_crc_folded(crc, data, whole);
        data += whole;
        size -= whole;
    }
#endif
    return ~parity_crc_scalar(crc, data, size);
}

#endif
