/*
 * Keyed BLAKE3-256 of many spans: native code of cext/digest.pyx (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, BLAKE3, 2020).
 *
 * A message is cut into leaves of 1 KiB, each compressed block by block; pairs of chaining values are compressed to parents
 * up to the root. The lanes of a vector hold different leaves, or different parents: of one span, or of several short
 * ones. Leaves of one window are ordered by their number of blocks, so that lanes end together.
 */
#ifndef STRONGROOM_DIGEST_H
#define STRONGROOM_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "simd.h"

enum { DIGEST_LEAF = 1024, DIGEST_BLOCK = 64, DIGEST_OUT = 32, DIGEST_LANES_MAX = 16 };
enum { DIGEST_FIRST = 1, DIGEST_LAST = 2, DIGEST_PARENT = 4, DIGEST_ROOT = 8, DIGEST_KEYED = 16 };

#define DIGEST_WINDOW 1024 /* leaves in hand at a time, a power of two; bounds the scratch to some 100 KiB */
#define DIGEST_DEPTH 54    /* levels above a window in a message of 2^64 bytes */

static const uint32_t digest_start[4] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a};

/* One leaf or one parent: `bytes` bytes at `at` in `blocks` blocks (at least one), 32 bytes go to `out`. */
typedef struct {
    const uint8_t *at;
    uint8_t *out;
    uint64_t counter;
    uint32_t bytes;
    uint16_t blocks;
    uint8_t flags, flags_first, flags_last;
} digest_job;

/* Chaining values cv[first .. first + count) that become one value at `out`. */
typedef struct {
    uint8_t *out;
    uint32_t first, count;
    uint8_t flags;
} digest_tree;

typedef struct {
    uint8_t cv[DIGEST_WINDOW][DIGEST_OUT];
    digest_job leaves[DIGEST_WINDOW];
    const digest_job *order[DIGEST_WINDOW];
    digest_tree trees[DIGEST_WINDOW];
    size_t leaf_count, tree_count;
    uint32_t key[8];
    int level;
} digest_state;

static inline uint32_t digest_word(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void digest_store(uint8_t *at, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(word >> (8 * i));
}

#define DIGEST_ROTATE(x, bits) (((x) >> (bits)) | ((x) << (32 - (bits))))

#if defined(__GNUC__)
#define DIGEST_PREFETCH(address) __builtin_prefetch((const void *)(address))
#else
#define DIGEST_PREFETCH(address) (void)(address)
#endif

/* One lane: plain words. */
#define LANES 1
#define TARGET
#define VECTOR uint32_t
#define ROTATE(x, bits) DIGEST_ROTATE(x, bits)
#define LOAD(words, at) \
    for (int i = 0; i < 16; i++) \
        words[i] = digest_word(at[0] + 4 * i)
#define NAME(x) x##_1
#include "digest_lanes.h"

#if defined(__GNUC__)
/* Four lanes of whatever vectors the compiler has by default (SSE2, NEON). */
typedef uint32_t digest_vector4 __attribute__((vector_size(16)));

static inline void digest_load_4(digest_vector4 *words, const uint8_t *const *at)
{
    for (int i = 0; i < 16; i++)
        words[i] = (digest_vector4){digest_word(at[0] + 4 * i), digest_word(at[1] + 4 * i),
                                    digest_word(at[2] + 4 * i), digest_word(at[3] + 4 * i)};
}

#define LANES 4
#define TARGET
#define VECTOR digest_vector4
#define ROTATE(x, bits) DIGEST_ROTATE(x, bits)
#define LOAD(words, at) digest_load_4(words, at)
#define NAME(x) x##_4
#include "digest_lanes.h"
#endif

#if STRONGROOM_X86
#include <immintrin.h>

typedef uint32_t digest_vector8 __attribute__((vector_size(32)));
typedef uint32_t digest_vector16 __attribute__((vector_size(64)));

/* Eight 8 x 8 words turned over the diagonal, twice. */
STRONGROOM_AVX2 static inline void digest_load_8(digest_vector8 *words, const uint8_t *const *at)
{
    for (int half = 0; half < 2; half++) {
        __m256i pair[8], quad[8];
        for (int i = 0; i < 8; i += 2) {
            __m256i a = _mm256_loadu_si256((const __m256i *)(at[i] + 32 * half));
            __m256i b = _mm256_loadu_si256((const __m256i *)(at[i + 1] + 32 * half));
            pair[i] = _mm256_unpacklo_epi32(a, b);
            pair[i + 1] = _mm256_unpackhi_epi32(a, b);
        }
        for (int i = 0; i < 8; i += 4)
            for (int k = 0; k < 2; k++) {
                quad[i + 2 * k] = _mm256_unpacklo_epi64(pair[i + k], pair[i + 2 + k]);
                quad[i + 2 * k + 1] = _mm256_unpackhi_epi64(pair[i + k], pair[i + 2 + k]);
            }
        for (int i = 0; i < 4; i++) {
            words[8 * half + i] = (digest_vector8)_mm256_permute2x128_si256(quad[i], quad[4 + i], 0x20);
            words[8 * half + 4 + i] = (digest_vector8)_mm256_permute2x128_si256(quad[i], quad[4 + i], 0x31);
        }
    }
}

/* Whole bytes move by one shuffle. */
#define DIGEST_BYTES(x, first) \
    ((digest_vector8)_mm256_shuffle_epi8((__m256i)(x), _mm256_set_epi32( \
        0x0c0c0c0c + (first), 0x08080808 + (first), 0x04040404 + (first), (first), \
        0x0c0c0c0c + (first), 0x08080808 + (first), 0x04040404 + (first), (first))))

#define LANES 8
#define TARGET STRONGROOM_AVX2
#define VECTOR digest_vector8
#define ROTATE(x, bits) \
    ((bits) == 16 ? DIGEST_BYTES(x, 0x01000302) : (bits) == 8 ? DIGEST_BYTES(x, 0x00030201) : DIGEST_ROTATE(x, bits))
#define LOAD(words, at) digest_load_8(words, at)
#define NAME(x) x##_8
#include "digest_lanes.h"

/* Sixteen lines of 16 words turned over the diagonal. */
STRONGROOM_AVX512 static inline void digest_load_16(digest_vector16 *words, const uint8_t *const *at)
{
    __m512i pair[16], quad[16], half[16];
    for (int i = 0; i < 16; i += 2) {
        __m512i a = _mm512_loadu_si512(at[i]), b = _mm512_loadu_si512(at[i + 1]);
        pair[i] = _mm512_unpacklo_epi32(a, b);
        pair[i + 1] = _mm512_unpackhi_epi32(a, b);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            quad[i + 2 * k] = _mm512_unpacklo_epi64(pair[i + k], pair[i + 2 + k]);
            quad[i + 2 * k + 1] = _mm512_unpackhi_epi64(pair[i + k], pair[i + 2 + k]);
        }
    /* quad[4 g + w] holds, for the lanes 4 g .. 4 g + 3, the words w, 4 + w, 8 + w, 12 + w */
    for (int w = 0; w < 4; w++)
        for (int g = 0; g < 2; g++) {
            half[4 * w + g] = _mm512_shuffle_i32x4(quad[8 * g + w], quad[8 * g + 4 + w], 0x88);
            half[4 * w + 2 + g] = _mm512_shuffle_i32x4(quad[8 * g + w], quad[8 * g + 4 + w], 0xdd);
        }
    for (int w = 0; w < 4; w++)
        for (int odd = 0; odd < 2; odd++) {
            __m512i first = half[4 * w + 2 * odd], second = half[4 * w + 2 * odd + 1];
            words[4 * odd + w] = (digest_vector16)_mm512_shuffle_i32x4(first, second, 0x88);
            words[8 + 4 * odd + w] = (digest_vector16)_mm512_shuffle_i32x4(first, second, 0xdd);
        }
}

#define LANES 16
#define TARGET STRONGROOM_AVX512
#define VECTOR digest_vector16
#define ROTATE(x, bits) ((digest_vector16)_mm512_ror_epi32((__m512i)(x), bits))
#define LOAD(words, at) digest_load_16(words, at)
#define NAME(x) x##_16
#include "digest_lanes.h"
#endif

/* All jobs, the ones with more blocks first, in groups as wide as the level and the rest allow. */
static void digest_jobs(const digest_job *const *jobs, size_t count, const digest_state *state)
{
    size_t taken;
    for (; count; jobs += taken, count -= taken) {
        taken = 1;
#if STRONGROOM_X86
        if (state->level >= STRONGROOM_LEVEL_AVX512 && count > 8) {
            taken = count < 16 ? count : 16;
            digest_run_16(jobs, taken, state->key);
            continue;
        }
        if (state->level >= STRONGROOM_LEVEL_AVX2 && count > 1) {
            taken = count < 8 ? count : 8;
            digest_run_8(jobs, taken, state->key);
            continue;
        }
#endif
#if defined(__GNUC__)
        if (count > 1) {
            taken = count < 4 ? count : 4;
            digest_run_4(jobs, taken, state->key);
            continue;
        }
#endif
        digest_run_1(jobs, 1, state->key);
    }
}

/* 32 bytes of two children; `flags` is DIGEST_ROOT at the root. */
static digest_job digest_parent(const uint8_t *children, uint8_t *out, uint8_t flags)
{
    return (digest_job){.at = children, .out = out, .bytes = 64, .blocks = 1,
                        .flags = (uint8_t)(DIGEST_KEYED | DIGEST_PARENT | flags)};
}

static void digest_leaves(digest_state *state)
{
    size_t place[DIGEST_LEAF / DIGEST_BLOCK + 2] = {0};
    for (size_t i = 0; i < state->leaf_count; i++)
        place[16 - state->leaves[i].blocks + 1]++;
    for (int i = 1; i < 17; i++)
        place[i] += place[i - 1];
    for (size_t i = 0; i < state->leaf_count; i++)
        state->order[place[16 - state->leaves[i].blocks]++] = &state->leaves[i];
    digest_jobs(state->order, state->leaf_count, state);
}

/* One level of parents in every tree; a value without a neighbour rises as it is. Returns the trees still open. */
static size_t digest_level(digest_state *state, size_t open)
{
    digest_job jobs[DIGEST_LANES_MAX];
    const digest_job *order[DIGEST_LANES_MAX] = {0};
    size_t count = 0, left = 0;
    for (size_t i = 0; i < open; i++) {
        const digest_tree *tree = &state->trees[i];
        for (uint32_t pair = 0; pair < tree->count / 2; pair++) {
            int top = tree->count == 2;
            jobs[count] = digest_parent(state->cv[tree->first + 2 * pair], top ? tree->out : state->cv[tree->first + pair],
                                        top ? tree->flags : 0);
            order[count] = &jobs[count];
            if (++count == DIGEST_LANES_MAX) {
                digest_jobs(order, count, state);
                count = 0;
            }
        }
    }
    digest_jobs(order, count, state);
    for (size_t i = 0; i < open; i++) {
        digest_tree tree = state->trees[i];
        if (tree.count % 2)
            memcpy(state->cv[tree.first + tree.count / 2], state->cv[tree.first + tree.count - 1], DIGEST_OUT);
        tree.count = (tree.count + 1) / 2;
        if (tree.count > 1)
            state->trees[left++] = tree;
    }
    return left;
}

/* Everything in the window to its end. */
static void digest_flush(digest_state *state)
{
    digest_leaves(state);
    for (size_t open = state->tree_count; open;)
        open = digest_level(state, open);
    state->leaf_count = state->tree_count = 0;
}

static size_t digest_leaf_count(size_t bytes)
{
    return bytes ? (bytes - 1) / DIGEST_LEAF + 1 : 1;
}

/* Takes `bytes` bytes, at most a window of leaves from leaf number `counter` on; `flags` is DIGEST_ROOT or 0. */
static void digest_add(digest_state *state, const uint8_t *at, size_t bytes, uint64_t counter, uint8_t flags, uint8_t *out)
{
    const size_t count = digest_leaf_count(bytes);
    if (state->leaf_count + count > DIGEST_WINDOW)
        digest_flush(state);
    if (count > 1)
        state->trees[state->tree_count++] =
            (digest_tree){.out = out, .first = (uint32_t)state->leaf_count, .count = (uint32_t)count, .flags = flags};
    for (size_t i = 0; i < count; i++) {
        const size_t size = i + 1 < count ? DIGEST_LEAF : bytes - DIGEST_LEAF * (count - 1);
        const size_t slot = state->leaf_count++;
        state->leaves[slot] = (digest_job){
            .at = at + DIGEST_LEAF * i, .out = count > 1 ? state->cv[slot] : out, .counter = counter + i,
            .bytes = (uint32_t)size, .blocks = (uint16_t)(size ? (size - 1) / DIGEST_BLOCK + 1 : 1), .flags = DIGEST_KEYED,
            .flags_first = DIGEST_FIRST, .flags_last = (uint8_t)(DIGEST_LAST | (count > 1 ? 0 : flags))};
    }
}

/* A message of more than one window: windows in turn, complete left subtrees merged as they come. */
static void digest_long(digest_state *state, const uint8_t *at, size_t bytes, uint8_t *out)
{
    uint8_t stack[DIGEST_DEPTH + 1][DIGEST_OUT]; /* values of complete subtrees, the larger ones first */
    size_t depth = 0;
    const size_t window = (size_t)DIGEST_WINDOW * DIGEST_LEAF;
    digest_flush(state);
    for (uint64_t number = 1;; number++) {
        const size_t size = bytes < window ? bytes : window;
        digest_add(state, at, size, (number - 1) * DIGEST_WINDOW, 0, stack[depth++]);
        digest_flush(state);
        at += size;
        bytes -= size;
        for (uint64_t rest = number; bytes ? rest % 2 == 0 : depth > 1; rest /= 2, depth--) {
            digest_job job = digest_parent(stack[depth - 2], stack[depth - 2], bytes || depth > 2 ? 0 : DIGEST_ROOT);
            const digest_job *order = &job;
            digest_jobs(&order, 1, state);
        }
        if (!bytes)
            break;
    }
    memcpy(out, stack[0], DIGEST_OUT);
}

/* 32 bytes to `out` for each of the `count` spans (start, end pairs, checked). Returns -1 without memory. */
static int digest_spans(const uint8_t *data, const uint64_t *spans, size_t count, const uint8_t *key, uint8_t *out, int level)
{
    digest_state *state = malloc(sizeof *state);
    if (state == NULL)
        return -1;
    state->leaf_count = state->tree_count = 0;
    state->level = level;
    for (int i = 0; i < 8; i++)
        state->key[i] = digest_word(key + 4 * i);
    for (size_t i = 0; i < count; i++, out += DIGEST_OUT) {
        const uint8_t *at = data + spans[2 * i];
        const size_t bytes = spans[2 * i + 1] - spans[2 * i];
        if (digest_leaf_count(bytes) > DIGEST_WINDOW)
            digest_long(state, at, bytes, out);
        else
            digest_add(state, at, bytes, 0, DIGEST_ROOT, out);
    }
    digest_flush(state);
    free(state);
    return 0;
}

#endif
