// Vector arithmetic shared by the avx512vnni files. An element's bits depend on its value alone: tails run through the same
// instructions under a mask. Include after opening the target attribute (MK_AVX512_BEGIN … MK_AVX512_END).
#ifndef MEMVP_CKERNELS_AVX512_H
#define MEMVP_CKERNELS_AVX512_H

#include <immintrin.h>

#include "scalar.h"

// SwiftPM has no flags for one file, so the instruction set is an attribute of every function between these two.
#define MK_AVX512_BEGIN \
    _Pragma("clang attribute push(__attribute__((target(\"avx512f,avx512bw,avx512dq,avx512vl,avx512vnni\"))), apply_to = function)")
#define MK_AVX512_END _Pragma("clang attribute pop")

#define MK_INLINE static inline __attribute__((always_inline))

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

// The lanes of `remaining` elements, 16 or more being all.
MK_INLINE __mmask16 mk_lanes(int64_t remaining) {
    return remaining >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << remaining) - 1);
}

// Both keep NaN: min and max return their second operand when one is NaN.
MK_INLINE __m512 mk_clamp512(__m512 v, __m512 low, __m512 high) {
    return _mm512_min_ps(high, _mm512_max_ps(low, v));
}

// Pairs at distance 8, 4, 2, 1: one order for every reduction.
MK_INLINE float mk_sum512(__m512 v) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// exp(x) for x <= 0; see exponential.h.
MK_INLINE __m512 mk_exp512(__m512 x) {
    const __m512 lowest = _mm512_set1_ps(MK_EXP_LOWEST), rounder = _mm512_set1_ps(MK_ROUNDER);
    const __m512 one = _mm512_set1_ps(1.0f);
    __mmask16 normal = _mm512_cmp_ps_mask(x, lowest, _CMP_NLT_UQ);
    __m512 clamped = _mm512_max_ps(lowest, x);
    __m512 rounded = _mm512_fmadd_ps(clamped, _mm512_set1_ps(MK_LOG2_E), rounder);
    __m512 n = _mm512_sub_ps(rounded, rounder);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(MK_LN2_HIGH), clamped);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(MK_LN2_LOW), r);
    __m512 p = _mm512_set1_ps(MK_EXP_C6);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(MK_EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(MK_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(MK_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(MK_EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    __m512i power = _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(rounded), 23), _mm512_castps_si512(one));
    return _mm512_maskz_mul_ps(normal, p, _mm512_castsi512_ps(power));
}

// SiLU(x) = x / (1 + exp(-x)), the exponential taken of -|x|.
MK_INLINE __m512 mk_silu512(__m512 x) {
    __m512 z = mk_exp512(_mm512_or_ps(x, _mm512_set1_ps(-0.0f)));
    __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_div_ps(_mm512_mask_mul_ps(x, negative, x, z), _mm512_add_ps(_mm512_set1_ps(1.0f), z));
}

MK_AVX512_END

#endif
