/*
 * BLAKE3 compression of several messages side by side, one in each lane of the vectors. No include guard: cext/digest.h
 * includes this file once for each width, with
 *   LANES   the width,
 *   TARGET  the attribute of the processor level (or nothing),
 *   VECTOR  a type of LANES 32-bit words with the operators + ^ & | >> <<,
 *   ROTATE  (VECTOR, bits) to the right, for 16, 12, 8 and 7 bits,
 *   LOAD    (VECTOR words[16], const uint8_t *at[LANES]): word i of all lanes to words[i],
 *   NAME    (x) the name of a function of this width.
 */

/* Two quarters of a round side by side: four at once run out of registers. */
#define MIX_HALF(a, b, c, d, e, f, g, h, x, z, by, then) \
    v[a] += m[x]; v[e] += m[z]; \
    v[a] += v[b]; v[e] += v[f]; \
    v[d] = ROTATE(v[d] ^ v[a], by); v[h] = ROTATE(v[h] ^ v[e], by); \
    v[c] += v[d]; v[g] += v[h]; \
    v[b] = ROTATE(v[b] ^ v[c], then); v[f] = ROTATE(v[f] ^ v[g], then);

#define MIX(a, b, c, d, e, f, g, h, x, y, z, w) \
    MIX_HALF(a, b, c, d, e, f, g, h, x, z, 16, 12) MIX_HALF(a, b, c, d, e, f, g, h, y, w, 8, 7)

#define ROUND(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15) \
    MIX(0, 4, 8, 12, 1, 5, 9, 13, m0, m1, m2, m3) \
    MIX(2, 6, 10, 14, 3, 7, 11, 15, m4, m5, m6, m7) \
    MIX(0, 5, 10, 15, 1, 6, 11, 12, m8, m9, m10, m11) \
    MIX(2, 7, 8, 13, 3, 4, 9, 14, m12, m13, m14, m15)

/* What the lanes take for one block. */
typedef struct {
    const uint8_t *at[LANES];
    VECTOR bytes, flags, live;
} NAME(digest_feed);

/* Block `number` of every lane: a lane that is done keeps its value. */
TARGET static void NAME(digest_set)(NAME(digest_feed) *feed, const digest_job *const *jobs, size_t count,
                                    const uint8_t *const *last, size_t number)
{
    uint32_t bytes[LANES], flags[LANES], live[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        const digest_job *job = jobs[lane < count ? lane : count - 1];
        uint32_t ends = number + 1 == job->blocks;
        feed->at[lane] = number + 1 < job->blocks ? job->at + 64 * number : last[lane];
        bytes[lane] = ends ? job->bytes - 64 * (uint32_t)number : 64;
        flags[lane] = job->flags | (number ? 0 : job->flags_first) | (ends ? job->flags_last : 0);
        live[lane] = number < job->blocks ? 0xffffffffu : 0;
    }
    memcpy(&feed->bytes, bytes, sizeof bytes);
    memcpy(&feed->flags, flags, sizeof flags);
    memcpy(&feed->live, live, sizeof live);
}

/* Up to LANES jobs, the ones with more blocks first; spare lanes repeat the last job. */
TARGET static void NAME(digest_run)(const digest_job *const *jobs, size_t count, const uint32_t *key)
{
    NAME(digest_feed) feed;
    VECTOR h[8], m[16], v[16];
    uint8_t padded[LANES][64];
    const uint8_t *last[LANES];
    uint32_t low[LANES], high[LANES], words[8][LANES];
    const size_t most = jobs[0]->blocks, least = jobs[count - 1]->blocks;
    for (size_t lane = 0; lane < LANES; lane++) {
        const digest_job *job = jobs[lane < count ? lane : count - 1];
        const size_t rest = job->bytes - 64 * (job->blocks - 1);
        last[lane] = job->at + 64 * (job->blocks - 1);
        if (rest < 64) {
            memset(padded[lane], 0, 64);
            if (rest)
                memcpy(padded[lane], last[lane], rest);
            last[lane] = padded[lane];
        }
        low[lane] = (uint32_t)job->counter;
        high[lane] = (uint32_t)(job->counter >> 32);
    }
    for (int i = 0; i < 8; i++)
        h[i] = (VECTOR){0} + key[i];
    for (size_t number = 0; number < most; number++) {
        if (number < 2 || number + 1 >= least)
            NAME(digest_set)(&feed, jobs, count, last, number);
        else
            for (int lane = 0; lane < LANES; lane++)
                feed.at[lane] += 64;
        LOAD(m, feed.at);
        for (int lane = 0; lane < LANES; lane++) /* the same block of the leaves after these: the likely next group */
            DIGEST_PREFETCH((uintptr_t)feed.at[lane] + DIGEST_LEAF * LANES);
        for (int i = 0; i < 8; i++)
            v[i] = h[i];
        for (int i = 0; i < 4; i++)
            v[8 + i] = (VECTOR){0} + digest_start[i];
        memcpy(&v[12], low, sizeof low);
        memcpy(&v[13], high, sizeof high);
        v[14] = feed.bytes;
        v[15] = feed.flags;
        ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
        ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
        ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)
        ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)
        ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)
        ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)
        ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)
        if (number < least)
            for (int i = 0; i < 8; i++)
                h[i] = v[i] ^ v[8 + i];
        else
            for (int i = 0; i < 8; i++)
                h[i] = ((v[i] ^ v[8 + i]) & feed.live) | (h[i] & ~feed.live);
    }
    memcpy(words, h, sizeof words);
    for (size_t lane = 0; lane < count; lane++)
        for (int i = 0; i < 8; i++)
            digest_store(jobs[lane]->out + 4 * i, words[i][lane]);
}

#undef MIX_HALF
#undef MIX
#undef ROUND
#undef LANES
#undef TARGET
#undef VECTOR
#undef ROTATE
#undef LOAD
#undef NAME
