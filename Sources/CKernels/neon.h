// Vector arithmetic shared by the neon files. An element's bits depend on its value alone: tails are padded to a vector and run
// through the same instructions.
#ifndef MEMVP_CKERNELS_NEON_H
#define MEMVP_CKERNELS_NEON_H

#include <arm_neon.h>

#include "scalar.h"

#define MK_INLINE static inline __attribute__((always_inline))

#pragma STDC FP_CONTRACT OFF

// Four elements; those beyond `remaining` are `padding`.
MK_INLINE float32x4_t mk_load4(const float *x, int64_t remaining, float padding) {
    if (remaining >= 4) return vld1q_f32(x);
    float four[4] = {padding, padding, padding, padding};
    if (remaining > 0) memcpy(four, x, (size_t)remaining * sizeof *x);
    return vld1q_f32(four);
}

MK_INLINE void mk_store4(float *y, int64_t remaining, float32x4_t v) {
    if (remaining >= 4) {
        vst1q_f32(y, v);
    } else if (remaining > 0) {
        float four[4];
        vst1q_f32(four, v);
        memcpy(y, four, (size_t)remaining * sizeof *y);
    }
}

// Comparisons are false for NaN, so it stays.
MK_INLINE float32x4_t mk_clamp4(float32x4_t v, float32x4_t low, float32x4_t high) {
    v = vbslq_f32(vcltq_f32(v, low), low, v);
    return vbslq_f32(vcgtq_f32(v, high), high, v);
}

// The larger; the second where the first is NaN.
MK_INLINE float32x4_t mk_larger4(float32x4_t candidate, float32x4_t held) {
    return vbslq_f32(vcgtq_f32(candidate, held), candidate, held);
}

// (0 + 1) + (2 + 3).
MK_INLINE float mk_sum4(float32x4_t v) {
    float32x4_t pairs = vpaddq_f32(v, v);
    return vgetq_lane_f32(vpaddq_f32(pairs, pairs), 0);
}

// exp(x) for x <= 0; see exponential.h.
MK_INLINE float32x4_t mk_exp4(float32x4_t x) {
    const float32x4_t lowest = vdupq_n_f32(MK_EXP_LOWEST), rounder = vdupq_n_f32(MK_ROUNDER), one = vdupq_n_f32(1.0f);
    uint32x4_t vanishes = vcltq_f32(x, lowest);
    float32x4_t clamped = vbslq_f32(vanishes, lowest, x);
    float32x4_t rounded = vfmaq_f32(rounder, clamped, vdupq_n_f32(MK_LOG2_E));
    float32x4_t n = vsubq_f32(rounded, rounder);
    float32x4_t r = vfmsq_f32(clamped, n, vdupq_n_f32(MK_LN2_HIGH));
    r = vfmsq_f32(r, n, vdupq_n_f32(MK_LN2_LOW));
    float32x4_t p = vdupq_n_f32(MK_EXP_C6);
    p = vfmaq_f32(vdupq_n_f32(MK_EXP_C5), p, r);
    p = vfmaq_f32(vdupq_n_f32(MK_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(MK_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(MK_EXP_C2), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    uint32x4_t power = vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(rounded), 23), vreinterpretq_u32_f32(one));
    return vbslq_f32(vanishes, vdupq_n_f32(0), vmulq_f32(p, vreinterpretq_f32_u32(power)));
}

// SiLU(x) = x / (1 + exp(-x)), the exponential taken of -|x|.
MK_INLINE float32x4_t mk_silu4(float32x4_t x) {
    float32x4_t z = mk_exp4(vnegq_f32(vabsq_f32(x)));
    float32x4_t numerator = vbslq_f32(vcltzq_f32(x), vmulq_f32(x, z), x);
    return vdivq_f32(numerator, vaddq_f32(vdupq_n_f32(1.0f), z));
}

#endif
