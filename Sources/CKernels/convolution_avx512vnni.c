// Depthwise convolution with AVX-512, sixteen channels at a time, four output columns together.
#if defined(__x86_64__)

#include "avx512.h"
#include "depthwise.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

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
    __m512 sums[MK_COLUMNS];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++) sums[i] = _mm512_setzero_ps();
    for (int32_t ky = taps.top; ky < taps.bottom; ky++) {
        for (int32_t kx = taps.left; kx < taps.right; kx++) {
            __m512 weight = _mm512_loadu_ps(p->w + (ky * s->kernel + kx) * pixel + p->channel);
#pragma clang loop unroll(full)
            for (int32_t i = 0; i < count; i++) {
                const float *at = p->x + origin + ky * line + (kx + i * s->stride) * pixel;
                sums[i] = _mm512_fmadd_ps(weight, _mm512_loadu_ps(at), sums[i]);
            }
        }
    }
    const __m512 bias = _mm512_loadu_ps(p->bias + p->channel);
    for (int32_t i = 0; i < count; i++) {
        float *out = p->y + ((ptrdiff_t)row * s->out_width + column + i) * pixel + p->channel;
        _mm512_storeu_ps(out, mk_clamp512(_mm512_add_ps(sums[i], bias), _mm512_set1_ps(s->low), _mm512_set1_ps(s->high)));
    }
}

void mk_avx512vnni_depthwise(const mk_depthwise *shape, const float *x, const float *w, const float *bias,
                                 int32_t begin, int32_t end, float *y) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 16) {
            strip p = {shape, x, w, bias, y, channel};
            mk_walk_row(shape, &p, row, shape->kernel, columns);
        }
    }
}

MK_AVX512_END

#endif
