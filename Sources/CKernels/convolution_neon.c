// Depthwise convolution with NEON, sixteen channels (int8) or eight (float32) at a time, four output columns together. int8
// products fit int16 and are added to int32 lanes at once: exact.
#if defined(__aarch64__)

#include "depthwise.h"
#include "neon.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

typedef struct {
    const mk_depthwise *s;
    const int8_t *x, *w;
    const float *w_scales, *bias;
    float x_scale;
    float *y;
    int32_t channel;
} strip_i8;

MK_INLINE void columns_i8(const void *strip, int32_t row, int32_t column, const int32_t count, mk_taps taps) {
    const strip_i8 *p = strip;
    const mk_depthwise *s = p->s;
    const ptrdiff_t pixel = s->channels, line = s->width * pixel;
    const ptrdiff_t origin = mk_depthwise_origin(s, row, column) + p->channel;
    int32x4_t sums[MK_COLUMNS][4];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++)
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) sums[i][q] = vdupq_n_s32(0);
    for (int32_t ky = taps.top; ky < taps.bottom; ky++) {
        for (int32_t kx = taps.left; kx < taps.right; kx++) {
            const int8x16_t weight = vld1q_s8(p->w + (ky * s->kernel + kx) * pixel + p->channel);
#pragma clang loop unroll(full)
            for (int32_t i = 0; i < count; i++) {
                const int8x16_t v = vld1q_s8(p->x + origin + ky * line + (kx + i * s->stride) * pixel);
                int16x8_t low = vmull_s8(vget_low_s8(v), vget_low_s8(weight)), high = vmull_high_s8(v, weight);
                sums[i][0] = vaddw_s16(sums[i][0], vget_low_s16(low));
                sums[i][1] = vaddw_high_s16(sums[i][1], low);
                sums[i][2] = vaddw_s16(sums[i][2], vget_low_s16(high));
                sums[i][3] = vaddw_high_s16(sums[i][3], high);
            }
        }
    }
    const float32x4_t least = vdupq_n_f32(s->low), most = vdupq_n_f32(s->high);
#pragma clang loop unroll(full)
    for (int32_t q = 0; q < 4; q++) {
        const int32_t channel = p->channel + 4 * q;
        const float32x4_t scale = vmulq_f32(vdupq_n_f32(p->x_scale), vld1q_f32(p->w_scales + channel));
        const float32x4_t bias = vld1q_f32(p->bias + channel);
#pragma clang loop unroll(full)
        for (int32_t i = 0; i < count; i++) {
            float32x4_t v = vaddq_f32(vmulq_f32(vcvtq_f32_s32(sums[i][q]), scale), bias);
            vst1q_f32(p->y + ((ptrdiff_t)row * s->out_width + column + i) * pixel + channel, mk_clamp4(v, least, most));
        }
    }
}

void mk_neon_depthwise_i8(const mk_depthwise *shape, const int8_t *x, float x_scale, const int8_t *w,
                          const float *w_scales, const float *bias, int32_t begin, int32_t end, float *y) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 16) {
            strip_i8 p = {shape, x, w, w_scales, bias, x_scale, y, channel};
            mk_walk_row(shape, &p, row, shape->kernel, columns_i8);
        }
    }
}

// ---- float32 ---------------------------------------------------------------------------------------------------

typedef struct {
    const mk_depthwise *s;
    const float *x, *w, *bias;
    float *y;
    int32_t channel;
} strip_f32;

MK_INLINE void columns_f32(const void *strip, int32_t row, int32_t column, const int32_t count, mk_taps taps) {
    const strip_f32 *p = strip;
    const mk_depthwise *s = p->s;
    const ptrdiff_t pixel = s->channels, line = s->width * pixel;
    const ptrdiff_t origin = mk_depthwise_origin(s, row, column) + p->channel;
    float32x4_t sums[MK_COLUMNS][2];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++) sums[i][0] = sums[i][1] = vdupq_n_f32(0);
    for (int32_t ky = taps.top; ky < taps.bottom; ky++) {
        for (int32_t kx = taps.left; kx < taps.right; kx++) {
            const float *w = p->w + (ky * s->kernel + kx) * pixel + p->channel;
            const float32x4_t first = vld1q_f32(w), second = vld1q_f32(w + 4);
#pragma clang loop unroll(full)
            for (int32_t i = 0; i < count; i++) {
                const float *at = p->x + origin + ky * line + (kx + i * s->stride) * pixel;
                sums[i][0] = vfmaq_f32(sums[i][0], first, vld1q_f32(at));
                sums[i][1] = vfmaq_f32(sums[i][1], second, vld1q_f32(at + 4));
            }
        }
    }
    const float32x4_t least = vdupq_n_f32(s->low), most = vdupq_n_f32(s->high);
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++) {
        float *out = p->y + ((ptrdiff_t)row * s->out_width + column + i) * pixel + p->channel;
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 2; q++) {
            float32x4_t v = vaddq_f32(sums[i][q], vld1q_f32(p->bias + p->channel + 4 * q));
            vst1q_f32(out + 4 * q, mk_clamp4(v, least, most));
        }
    }
}

void mk_neon_depthwise_f32(const mk_depthwise *shape, const float *x, const float *w, const float *bias, int32_t begin,
                           int32_t end, float *y) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 8) {
            strip_f32 p = {shape, x, w, bias, y, channel};
            mk_walk_row(shape, &p, row, shape->kernel, columns_f32);
        }
    }
}

#endif
