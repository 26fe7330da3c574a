/* Rows of index runs, and sets of chunk ids; see cext/reference/runs.py, the oracle. Little-endian on every machine. */

#ifndef STRONGROOM_RUNS_H
#define STRONGROOM_RUNS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ID_BYTES = 32, REF_BYTES = 36, ROW_BYTES = 44, FRAME_BYTES = 52, BLOCK_BYTES = 64 };
enum { BLOOM_PROBES = 7, SEARCH_GROUP = 16, SMALL_SORT = 12 };
#define ROW_NONE 0xFFFFFFFFu
#define SALTS_MAX (1u << 24)

#if defined(__GNUC__)
#define PREFETCH(at) __builtin_prefetch(at)
#else
#define PREFETCH(at) ((void)(at))
#endif

enum { RUNS_OK = 0, RUNS_BAD = -1, RUNS_NO_MEMORY = -2 };

static inline uint32_t load32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void store32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

static inline uint64_t load_big(const uint8_t *at)
{
    return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40
           | (uint64_t)at[3] << 32 | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16
           | (uint64_t)at[6] << 8 | at[7];
}

static inline int compare_ids(const uint8_t *a, const uint8_t *b)
{
    uint64_t x = load_big(a), y = load_big(b);
    if (x != y)
        return x < y ? -1 : 1;
    return memcmp(a + 8, b + 8, ID_BYTES - 8);
}

static inline uint32_t row_frame(const uint8_t *row) { return load32(row + 32); }
static inline uint32_t row_offset(const uint8_t *row) { return load32(row + 36); }
static inline uint32_t row_length(const uint8_t *row) { return load32(row + 40); }
static inline uint32_t frame_salt(const uint8_t *frame)
{
    return frame[48] | (uint32_t)frame[49] << 8 | (uint32_t)frame[51] << 16;
}

/* n records of `stride` bytes: their first 32 bytes, joined */
static void runs_ids(const uint8_t *records, size_t n, size_t stride, uint8_t *ids)
{
    for (size_t i = 0; i < n; i++)
        memcpy(ids + i * ID_BYTES, records + i * stride, ID_BYTES);
}

static int runs_rows_of(const uint8_t *refs, const uint32_t *counts, size_t frames,
                        uint32_t first_frame, uint8_t *rows)
{
    for (size_t frame = 0; frame < frames; frame++) {
        uint64_t offset = 0;
        for (uint32_t i = 0; i < counts[frame]; i++) {
            memcpy(rows, refs, ID_BYTES);
            store32(rows + 32, first_frame + (uint32_t)frame);
            store32(rows + 36, (uint32_t)offset);
            memcpy(rows + 40, refs + 32, 4);
            offset += load32(refs + 32);
            if (offset > 0xFFFFFFFFu)
                return RUNS_BAD;
            refs += REF_BYTES;
            rows += ROW_BYTES;
        }
    }
    return RUNS_OK;
}

/* -- sorting: one pass over the leading bits, then a stable merge sort inside each bucket -------- */

typedef struct {
    uint64_t key; /* first 8 bytes of the id */
    uint32_t row;
} sort_key;

static inline int sorts_after(const uint8_t *rows, const sort_key *a, const sort_key *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    return memcmp(rows + (size_t)a->row * ROW_BYTES, rows + (size_t)b->row * ROW_BYTES, ID_BYTES)
           > 0;
}

static void sort_keys(const uint8_t *rows, sort_key *keys, size_t n, sort_key *spare)
{
    if (n <= SMALL_SORT) {
        for (size_t i = 1; i < n; i++) {
            sort_key key = keys[i];
            size_t at = i;
            for (; at > 0 && sorts_after(rows, &keys[at - 1], &key); at--)
                keys[at] = keys[at - 1];
            keys[at] = key;
        }
        return;
    }
    size_t half = n / 2;
    sort_keys(rows, keys, half, spare);
    sort_keys(rows, keys + half, n - half, spare);
    memcpy(spare, keys, half * sizeof *keys);
    size_t left = 0, right = half, at = 0;
    while (left < half && right < n) {
        if (sorts_after(rows, &spare[left], &keys[right]))
            keys[at++] = keys[right++];
        else
            keys[at++] = spare[left++];
    }
    memcpy(keys + at, spare + left, (half - left) * sizeof *keys);
}

/* Sorted rows go to `out`; of equal ids the first is kept. The number of rows, or RUNS_NO_MEMORY. */
static int64_t runs_sort(const uint8_t *rows, size_t n, uint8_t *out)
{
    int bits = 0;
    while (bits < 20 && n >> (bits + 3) > 1)
        bits++;
    size_t buckets = (size_t)1 << bits;
    size_t *ends = calloc(buckets + 1, sizeof *ends);
    sort_key *keys = malloc((n + 1) * sizeof *keys);
    sort_key *spare = malloc((n / 2 + 1) * sizeof *spare);
    int64_t kept = RUNS_NO_MEMORY;
    if (ends && keys && spare) {
        for (size_t i = 0; i < n; i++)
            ends[(load_big(rows + i * ROW_BYTES) >> 32 << bits >> 32) + 1]++;
        for (size_t b = 1; b <= buckets; b++)
            ends[b] += ends[b - 1];
        for (size_t i = 0; i < n; i++) {
            uint64_t key = load_big(rows + i * ROW_BYTES);
            sort_key made = {key, (uint32_t)i};
            keys[ends[key >> 32 << bits >> 32]++] = made; /* afterwards ends[b] is b's end */
        }
        kept = 0;
        for (size_t b = 0, start = 0; b < buckets; start = ends[b], b++)
            sort_keys(rows, keys + start, ends[b] - start, spare);
        const uint8_t *last = NULL;
        for (size_t i = 0; i < n; i++) {
            const uint8_t *row = rows + (size_t)keys[i].row * ROW_BYTES;
            if (i + 8 < n)
                PREFETCH(rows + (size_t)keys[i + 8].row * ROW_BYTES);
            if (last && memcmp(last, row, ID_BYTES) == 0)
                continue;
            last = row;
            memcpy(out + (size_t)kept++ * ROW_BYTES, row, ROW_BYTES);
        }
    }
    free(ends);
    free(keys);
    free(spare);
    return kept;
}

static int runs_check(const uint8_t *rows, size_t n, const uint32_t *plain, size_t frames)
{
    for (size_t i = 0; i < n; i++, rows += ROW_BYTES) {
        if (i && compare_ids(rows - ROW_BYTES, rows) >= 0)
            return 0;
        uint32_t frame = row_frame(rows);
        if (frame >= frames || (uint64_t)row_offset(rows) + row_length(rows) > plain[frame])
            return 0;
    }
    return 1;
}

/* -- searching: the place is guessed from the id, then closed in on ----------------------------- */

static uint32_t runs_bound(const uint8_t *rows, uint32_t n, const uint8_t *id)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_ids(rows + (size_t)middle * ROW_BYTES, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline uint32_t share_of(uint64_t distance, uint32_t n)
{
    return (uint32_t)((distance >> 32) * n >> 32);
}

/* The guess, moved by what the key found there says; ids are spread evenly, so an error shrinks to its root. */
static inline uint32_t better_guess(const uint8_t *rows, uint32_t n, uint64_t key, uint32_t guess)
{
    uint64_t there = load_big(rows + (size_t)guess * ROW_BYTES);
    if (key >= there) {
        uint32_t step = share_of(key - there, n);
        return step < n - guess ? guess + step : n - 1;
    }
    uint32_t step = share_of(there - key, n);
    return step < guess ? guess - step : 0;
}

/* From a guess outwards in doubling steps, then by halves: at most about 2 log n steps for any ids. */
static uint32_t settle(const uint8_t *rows, uint32_t n, const uint8_t *id, uint32_t guess)
{
    int order = compare_ids(id, rows + (size_t)guess * ROW_BYTES);
    uint32_t low, high, step = 1;
    if (order == 0)
        return guess;
    if (order > 0) {
        low = guess + 1;
        high = n;
        while (step < n - guess) {
            order = compare_ids(id, rows + (size_t)(guess + step) * ROW_BYTES);
            if (order == 0)
                return guess + step;
            if (order < 0) {
                high = guess + step;
                break;
            }
            low = guess + step + 1;
            if (step > n / 2)
                break;
            step *= 2;
        }
    } else {
        low = 0;
        high = guess;
        while (step <= guess) {
            order = compare_ids(id, rows + (size_t)(guess - step) * ROW_BYTES);
            if (order == 0)
                return guess - step;
            if (order > 0) {
                low = guess - step + 1;
                break;
            }
            high = guess - step;
            if (step > n / 2)
                break;
            step *= 2;
        }
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        order = compare_ids(id, rows + (size_t)middle * ROW_BYTES);
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return ROW_NONE;
}

/* `count` (at most SEARCH_GROUP) ids at once, so that their waits for memory overlap */
static void search_group(const uint8_t *rows, uint32_t n, const uint8_t *const *ids, int count,
                         uint32_t *places)
{
    uint64_t keys[SEARCH_GROUP];
    if (n == 0) {
        for (int i = 0; i < count; i++)
            places[i] = ROW_NONE;
        return;
    }
    for (int i = 0; i < count; i++) {
        keys[i] = load_big(ids[i]);
        places[i] = share_of(keys[i], n);
        PREFETCH(rows + (size_t)places[i] * ROW_BYTES);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < count; i++) {
            places[i] = better_guess(rows, n, keys[i], places[i]);
            PREFETCH(rows + (size_t)places[i] * ROW_BYTES);
        }
    for (int i = 0; i < count; i++)
        places[i] = settle(rows, n, ids[i], places[i]);
}

static void runs_search(const uint8_t *rows, uint32_t n, const uint8_t *ids, size_t count,
                        uint32_t *places)
{
    const uint8_t *group[SEARCH_GROUP];
    for (size_t at = 0; at < count; at += SEARCH_GROUP) {
        int size = count - at < SEARCH_GROUP ? (int)(count - at) : SEARCH_GROUP;
        for (int i = 0; i < size; i++)
            group[i] = ids + (at + i) * ID_BYTES;
        search_group(rows, n, group, size, places + at);
    }
}

/* -- a blocked Bloom filter --------------------------------------------------------------------- */

static inline size_t bloom_block(const uint8_t *id, size_t blocks)
{
    return (size_t)((load_big(id + 8) >> 32) * blocks >> 32) * BLOCK_BYTES;
}

static void runs_bloom_build(const uint8_t *rows, size_t n, uint8_t *bloom, size_t blocks)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *id = rows + i * ROW_BYTES;
        if (i + 8 < n)
            PREFETCH(bloom + bloom_block(id + 8 * ROW_BYTES, blocks));
        uint8_t *block = bloom + bloom_block(id, blocks);
        uint64_t bits = load_big(id + 16);
        for (int probe = 0; probe < BLOOM_PROBES; probe++, bits >>= 9)
            block[(bits & 511) >> 3] |= (uint8_t)(1 << (bits & 7));
    }
}

static inline int in_bloom(const uint8_t *block, const uint8_t *id)
{
    uint64_t bits = load_big(id + 16);
    for (int probe = 0; probe < BLOOM_PROBES; probe++, bits >>= 9)
        if (!(block[(bits & 511) >> 3] >> (bits & 7) & 1))
            return 0;
    return 1;
}

static void runs_bloom_check(const uint8_t *bloom, size_t blocks, const uint8_t *ids, size_t n,
                             uint8_t *mask)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *id = ids + i * ID_BYTES;
        if (i + 8 < n)
            PREFETCH(bloom + bloom_block(id + 8 * ID_BYTES, blocks));
        mask[i] = (uint8_t)in_bloom(bloom + bloom_block(id, blocks), id);
    }
}

typedef struct {
    uint32_t *missing, *found, *places;
    size_t missing_count, found_count;
} lookup_result;

/* Positions must lie inside the ids; `among` and `bloom` may be NULL; each array of `result` has room for `count`. */
static void runs_lookup(const uint8_t *rows, uint32_t n, const uint8_t *bloom, size_t blocks,
                        const uint8_t *ids, const uint32_t *among, size_t count,
                        lookup_result *result)
{
    for (size_t at = 0; at < count; at += SEARCH_GROUP) {
        uint32_t positions[SEARCH_GROUP], places[SEARCH_GROUP];
        const uint8_t *group[SEARCH_GROUP];
        int candidates[SEARCH_GROUP];
        int size = count - at < SEARCH_GROUP ? (int)(count - at) : SEARCH_GROUP;
        int candidate_count = 0;
        for (int i = 0; i < size; i++) {
            positions[i] = among ? among[at + i] : (uint32_t)(at + i);
            places[i] = ROW_NONE;
            if (bloom)
                PREFETCH(bloom + bloom_block(ids + (size_t)positions[i] * ID_BYTES, blocks));
        }
        for (int i = 0; i < size; i++) {
            const uint8_t *id = ids + (size_t)positions[i] * ID_BYTES;
            if (!bloom || in_bloom(bloom + bloom_block(id, blocks), id)) {
                group[candidate_count] = id;
                candidates[candidate_count++] = i;
            }
        }
        if (candidate_count) {
            uint32_t answers[SEARCH_GROUP];
            search_group(rows, n, group, candidate_count, answers);
            for (int i = 0; i < candidate_count; i++)
                places[candidates[i]] = answers[i];
        }
        for (int i = 0; i < size; i++) {
            if (places[i] == ROW_NONE) {
                result->missing[result->missing_count++] = positions[i];
            } else {
                result->found[result->found_count] = positions[i];
                result->places[result->found_count++] = places[i];
            }
        }
    }
}

/* -- merging: a heap of the runs' next rows ----------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end; /* the next row; end of the rows */
    const uint32_t *numbers; /* new number of each frame, ROW_NONE: left out */
    size_t frames;
    uint64_t key; /* first 8 bytes of the next id */
    uint32_t number; /* new number of the next row's frame */
    uint32_t run;
} merge_source;

/* To the next row that stays: 1; 0 at the end; RUNS_BAD if a frame is out of range. */
static inline int merge_next(merge_source *source)
{
    for (; source->at < source->end; source->at += ROW_BYTES) {
        uint32_t frame = row_frame(source->at);
        if (frame >= source->frames)
            return RUNS_BAD;
        source->number = source->numbers[frame];
        if (source->number != ROW_NONE) {
            source->key = load_big(source->at);
            PREFETCH(source->at + 8 * ROW_BYTES);
            return 1;
        }
    }
    return 0;
}

static inline int comes_before(const merge_source *a, const merge_source *b)
{
    if (a->key != b->key)
        return a->key < b->key;
    int order = memcmp(a->at, b->at, ID_BYTES);
    return order ? order < 0 : a->run < b->run;
}

static void sift_down(merge_source **heap, size_t count, size_t at)
{
    merge_source *moved = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && comes_before(heap[child + 1], heap[child]))
            child++;
        if (!comes_before(heap[child], moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* Merged rows go to `out`, which has room for all. The number of rows, or RUNS_BAD. `heap` has room for `count`. */
static int64_t runs_merge(merge_source *sources, size_t count, merge_source **heap, uint8_t *out)
{
    size_t held = 0;
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        int state = merge_next(&sources[i]);
        if (state < 0)
            return RUNS_BAD;
        if (state)
            heap[held++] = &sources[i];
    }
    for (size_t i = held; i-- > 0;)
        sift_down(heap, held, i);
    while (held) {
        merge_source *next = heap[0];
        if (rows == 0 || memcmp(out - ROW_BYTES, next->at, ID_BYTES) != 0) {
            memcpy(out, next->at, ROW_BYTES);
            store32(out + 32, next->number);
            out += ROW_BYTES;
            rows++;
        }
        next->at += ROW_BYTES;
        int state = merge_next(next);
        if (state < 0)
            return RUNS_BAD;
        if (!state)
            heap[0] = heap[--held];
        if (held)
            sift_down(heap, held, 0);
    }
    return rows;
}

/* -- frame records ------------------------------------------------------------------------------ */

static int runs_frames_fit(const uint8_t *frames, size_t n, uint64_t packs, uint64_t salts,
                           unsigned codec_max)
{
    uint32_t before = 0;
    for (size_t i = 0; i < n; i++, frames += FRAME_BYTES) {
        uint32_t pack = load32(frames);
        if (pack < before || pack >= packs || frame_salt(frames) >= salts || frames[50] > codec_max)
            return 0;
        before = pack;
    }
    return 1;
}

static int runs_salts_used(const uint8_t *frames, size_t n, const uint32_t *packs,
                           size_t pack_count, size_t salt_count, uint8_t *used)
{
    for (size_t i = 0; i < n; i++, frames += FRAME_BYTES) {
        uint32_t pack = load32(frames), salt = frame_salt(frames);
        if (pack >= pack_count || salt >= salt_count)
            return RUNS_BAD;
        if (packs[pack] != ROW_NONE)
            used[salt] = 1;
    }
    return RUNS_OK;
}

/* The number of frames kept, or RUNS_BAD. */
static int64_t runs_renumber(const uint8_t *frames, size_t n, const uint32_t *packs,
                             size_t pack_count, const uint32_t *salts, size_t salt_count,
                             uint32_t first, uint8_t *out, uint32_t *numbers)
{
    int64_t kept = 0;
    for (size_t i = 0; i < n; i++, frames += FRAME_BYTES) {
        uint32_t pack = load32(frames), salt = frame_salt(frames);
        if (pack >= pack_count || salt >= salt_count)
            return RUNS_BAD;
        numbers[i] = ROW_NONE;
        if (packs[pack] == ROW_NONE)
            continue;
        if (salts[salt] >= SALTS_MAX)
            return RUNS_BAD;
        numbers[i] = first + (uint32_t)kept++;
        memcpy(out, frames, FRAME_BYTES);
        store32(out, packs[pack]);
        out[48] = (uint8_t)salts[salt];
        out[49] = (uint8_t)(salts[salt] >> 8);
        out[51] = (uint8_t)(salts[salt] >> 16);
        out += FRAME_BYTES;
    }
    return kept;
}

/* -- a set of ids: an open-addressing table of tags and places over a growing list -------------- */

typedef struct {
    uint8_t *ids;
    uint64_t *slots; /* upper half: tag; lower half: place + 1, 0 for an empty slot */
    size_t count, room, mask;
} id_table;

static inline uint64_t id_hash(const uint8_t *id)
{
    uint64_t words[4];
    memcpy(words, id, ID_BYTES);
    uint64_t mixed = words[0] ^ (words[1] << 17 | words[1] >> 47) ^ (words[2] << 31 | words[2] >> 33)
                     ^ (words[3] << 47 | words[3] >> 17);
    mixed *= 0x9E3779B97F4A7C15u;
    return mixed ^ mixed >> 32;
}

static inline uint64_t id_tag(uint64_t hash) { return hash & 0xFFFFFFFF00000000u; }

/* The slot that holds the id, or the empty one where it belongs. There is always an empty one. */
static inline size_t id_slot(const id_table *table, const uint8_t *id, uint64_t hash)
{
    size_t slot = (size_t)hash & table->mask;
    for (;; slot = (slot + 1) & table->mask) {
        uint64_t held = table->slots[slot];
        if (held == 0)
            return slot;
        if (id_tag(held) == id_tag(hash)
            && memcmp(table->ids + ((held & 0xFFFFFFFFu) - 1) * ID_BYTES, id, ID_BYTES) == 0)
            return slot;
    }
}

static int id_table_init(id_table *table)
{
    memset(table, 0, sizeof *table);
    table->mask = 63;
    table->slots = calloc(table->mask + 1, sizeof *table->slots);
    return table->slots ? RUNS_OK : RUNS_NO_MEMORY;
}

static void id_table_free(id_table *table)
{
    free(table->ids);
    free(table->slots);
}

/* Room for one more id: slots double at three quarters, the list grows by an eighth. */
static int id_table_grow(id_table *table)
{
    if (table->count >= ROW_NONE - 1)
        return RUNS_NO_MEMORY;
    if (table->count == table->room) {
        size_t room = table->room + table->room / 8 + 64;
        uint8_t *ids = realloc(table->ids, room * ID_BYTES);
        if (!ids)
            return RUNS_NO_MEMORY;
        table->ids = ids;
        table->room = room;
    }
    if (table->count >= (table->mask + 1) / 4 * 3) {
        size_t mask = table->mask * 2 + 1;
        uint64_t *slots = calloc(mask + 1, sizeof *slots);
        if (!slots)
            return RUNS_NO_MEMORY;
        free(table->slots);
        table->slots = slots;
        table->mask = mask;
        for (size_t place = 0; place < table->count; place++) {
            uint64_t hash = id_hash(table->ids + place * ID_BYTES);
            size_t slot = (size_t)hash & mask;
            while (slots[slot])
                slot = (slot + 1) & mask;
            slots[slot] = id_tag(hash) | (place + 1);
        }
    }
    return RUNS_OK;
}

static inline void id_table_prefetch(const id_table *table, const uint8_t *id)
{
    PREFETCH(table->slots + ((size_t)id_hash(id) & table->mask));
}

/* 1: added; 0: was there; RUNS_NO_MEMORY. */
static int id_table_add(id_table *table, const uint8_t *id)
{
    uint64_t hash = id_hash(id);
    size_t slot = id_slot(table, id, hash);
    if (table->slots[slot])
        return 0;
    size_t mask = table->mask;
    if (id_table_grow(table) != RUNS_OK)
        return RUNS_NO_MEMORY;
    if (table->mask != mask)
        slot = id_slot(table, id, hash);
    memcpy(table->ids + table->count * ID_BYTES, id, ID_BYTES);
    table->slots[slot] = id_tag(hash) | ++table->count;
    return 1;
}

static inline int id_table_has(const id_table *table, const uint8_t *id)
{
    return table->slots[id_slot(table, id, id_hash(id))] != 0;
}

static size_t id_table_bytes(const id_table *table)
{
    return table->room * ID_BYTES + (table->mask + 1) * sizeof *table->slots;
}

/* -- parts of rows: msgpack arrays of [role text, size, references, recipe] ----------------------- */

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} packed_bytes;

/* A big-endian number of so many bytes; RUNS_BAD if there are fewer. */
static int64_t packed_number(packed_bytes *in, unsigned size)
{
    uint64_t number = 0;
    if ((size_t)(in->end - in->at) < size)
        return RUNS_BAD;
    while (size--)
        number = number << 8 | *in->at++;
    return number > INT64_MAX ? RUNS_BAD : (int64_t)number;
}

/* The length that stands behind a head byte: `fixed` heads hold it in their low bits, others name 1, 2 or 4 bytes. */
static int64_t packed_length(packed_bytes *in, unsigned fixed, unsigned mask, unsigned first,
                             unsigned smallest)
{
    if (in->at == in->end)
        return RUNS_BAD;
    unsigned head = *in->at++;
    if (mask && (head & ~mask) == fixed)
        return head & mask;
    if (head < first || head - first > 2 || (smallest << (head - first)) > 4)
        return RUNS_BAD;
    return packed_number(in, smallest << (head - first));
}

static int packed_skip(packed_bytes *in, int64_t size)
{
    if (size < 0 || in->end - in->at < size)
        return RUNS_BAD;
    in->at += size;
    return RUNS_OK;
}

static int64_t packed_binary(packed_bytes *in)
{
    return packed_length(in, 0, 0, 0xc4, 1);
}

static int packed_size(packed_bytes *in)
{
    if (in->at == in->end)
        return RUNS_BAD;
    unsigned head = *in->at++;
    if (head < 0x80)
        return RUNS_OK;
    if (head < 0xcc || head > 0xcf)
        return RUNS_BAD;
    return packed_number(in, 1u << (head - 0xcc)) < 0 ? RUNS_BAD : RUNS_OK;
}

/* References of one value, put to `out` (NULL: only counted); their bytes, or RUNS_BAD. */
static int64_t packed_references(const uint8_t *value, size_t size, uint8_t *out)
{
    packed_bytes in = {value, value + size};
    int64_t parts = size ? packed_length(&in, 0x90, 0x0f, 0xdc, 2) : 0, total = 0;
    if (parts < 0)
        return RUNS_BAD;
    for (; parts; parts--) {
        if (packed_length(&in, 0x90, 0x0f, 0xdc, 2) != 4)
            return RUNS_BAD;
        if (packed_skip(&in, packed_length(&in, 0xa0, 0x1f, 0xd9, 1)) != RUNS_OK)
            return RUNS_BAD;
        if (packed_size(&in) != RUNS_OK)
            return RUNS_BAD;
        int64_t refs = packed_binary(&in);
        const uint8_t *from = in.at;
        if (packed_skip(&in, refs) != RUNS_OK || refs % REF_BYTES)
            return RUNS_BAD;
        if (out)
            memcpy(out + total, from, (size_t)refs);
        total += refs;
        if (packed_skip(&in, packed_binary(&in)) != RUNS_OK)
            return RUNS_BAD;
    }
    return in.at == in.end ? total : RUNS_BAD;
}

#endif
