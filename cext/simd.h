/*
 * SIMD levels: what a kernel may run on this processor.
 *
 * A kernel compiles its own functions for each level with STRONGROOM_AVX2 or STRONGROOM_AVX512 and takes, at import, the
 * best one at or below strongroom_simd_level(). Every path gives the same bytes; only the speed differs. Elsewhere than on
 * x86-64 with GCC or Clang only the scalar level exists: STRONGROOM_X86 says so to the preprocessor.
 */
#ifndef STRONGROOM_SIMD_H
#define STRONGROOM_SIMD_H

#include <string.h>

#define STRONGROOM_LEVEL_SCALAR 0
#define STRONGROOM_LEVEL_AVX2 1
#define STRONGROOM_LEVEL_AVX512 2

#if defined(__x86_64__) && defined(__GNUC__)
#define STRONGROOM_X86 1
#define STRONGROOM_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define STRONGROOM_AVX512 \
    __attribute__((target("avx2,bmi,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")))
#else
#define STRONGROOM_X86 0
#endif

/* The best level of this processor and build. */
static inline int strongroom_simd_best(void)
{
#if STRONGROOM_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2")
        || !__builtin_cpu_supports("popcnt"))
        return STRONGROOM_LEVEL_SCALAR;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vbmi"))
        return STRONGROOM_LEVEL_AVX512;
    return STRONGROOM_LEVEL_AVX2;
#else
    return STRONGROOM_LEVEL_SCALAR;
#endif
}

/* The level to run under a demand (empty or NULL: the best); -1: an unknown word, or more than there is. */
static inline int strongroom_simd_level(const char *demand)
{
    int best = strongroom_simd_best();
    int level;
    if (demand == NULL || demand[0] == 0)
        return best;
    if (strcmp(demand, "scalar") == 0)
        level = STRONGROOM_LEVEL_SCALAR;
    else if (strcmp(demand, "avx2") == 0)
        level = STRONGROOM_LEVEL_AVX2;
    else if (strcmp(demand, "avx512") == 0)
        level = STRONGROOM_LEVEL_AVX512;
    else
        return -1;
    return level <= best ? level : -1;
}

#endif
