// Vector arithmetic shared by the avx2 files. An element's bits depend on its value alone: tails run through the same
// instructions under a mask. Functions that use it stand between MK_AVX2_BEGIN and MK_AVX2_END.
#ifndef MEMVP_CKERNELS_AVX2_H
#define MEMVP_CKERNELS_AVX2_H

#include <immintrin.h>

#include "scalar.h"

// SwiftPM has no flags for one file, so the instruction set is an attribute of every function between these two.
#define MK_AVX2_BEGIN _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
#define MK_AVX2_END _Pragma("clang attribute pop")

#define MK_INLINE static inline __attribute__((always_inline))

#pragma STDC FP_CONTRACT OFF

MK_AVX2_BEGIN

// The lanes of `remaining` elements, 8 or more being all, 0 or fewer none.
MK_INLINE __m256i mk_lanes8(int64_t remaining) {
    int32_t count = remaining >= 8 ? 8 : remaining <= 0 ? 0 : (int32_t)remaining;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Both keep NaN: min and max return their second operand when one is NaN.
MK_INLINE __m256 mk_clamp256(__m256 v, __m256 low, __m256 high) { return _mm256_min_ps(high, _mm256_max_ps(low, v)); }

MK_INLINE __m256 mk_abs256(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }

// Pairs at distance 4, 2, 1: one order for every reduction.
MK_INLINE float mk_sum256(__m256 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

MK_INLINE float mk_maximum256(__m256 v) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// exp(x) for x <= 0; see exponential.h.
MK_INLINE __m256 mk_exp256(__m256 x) {
    const __m256 lowest = _mm256_set1_ps(MK_EXP_LOWEST), rounder = _mm256_set1_ps(MK_ROUNDER);
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 normal = _mm256_cmp_ps(x, lowest, _CMP_NLT_UQ);
    __m256 clamped = _mm256_max_ps(lowest, x);
    __m256 rounded = _mm256_fmadd_ps(clamped, _mm256_set1_ps(MK_LOG2_E), rounder);
    __m256 n = _mm256_sub_ps(rounded, rounder);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(MK_LN2_HIGH), clamped);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(MK_LN2_LOW), r);
    __m256 p = _mm256_set1_ps(MK_EXP_C6);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(MK_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(MK_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(MK_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(MK_EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    __m256i power = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(rounded), 23), _mm256_castps_si256(one));
    return _mm256_and_ps(normal, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
}

// SiLU(x) = x / (1 + exp(-x)), the exponential taken of -|x|.
MK_INLINE __m256 mk_silu256(__m256 x) {
    __m256 z = mk_exp256(_mm256_or_ps(x, _mm256_set1_ps(-0.0f)));
    __m256 negative = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ);
    __m256 numerator = _mm256_blendv_ps(x, _mm256_mul_ps(x, z), negative);
    return _mm256_div_ps(numerator, _mm256_add_ps(_mm256_set1_ps(1.0f), z));
}

MK_AVX2_END

#endif
