// Depthwise convolution with NEON, eight channels at a time, four output columns together.
#if defined(__aarch64__)

#include "depthwise.h"
#include "neon.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

typedef struct {
    const mk_depthwise *s;
    const float *x, *w, *bias;
    float *y;
    int32_t channel;
} strip;

MK_INLINE void columns(const void *context, int32_t row, int32_t column, const int32_t count, mk_taps taps) {
    const strip *p = context;
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

void mk_neon_depthwise(const mk_depthwise *shape, const float *x, const float *w, const float *bias, int32_t begin,
                           int32_t end, float *y) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 8) {
            strip p = {shape, x, w, bias, y, channel};
            mk_walk_row(shape, &p, row, shape->kernel, columns);
        }
    }
}

#endif
