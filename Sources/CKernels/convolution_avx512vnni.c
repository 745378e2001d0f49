// Depthwise convolution with AVX-512, thirty-two channels (int8) or sixteen (float32) at a time, four output columns together.
//
// int8: a tap's 32 bytes widen to int16; vpdpwssd then multiplies pairs of neighbouring channels and adds both products to
// an int32 lane. With the odd weights zeroed the lane holds the even channel alone, and the other way round: two
// instructions a tap, no shuffles, exact. The two halves are interleaved once, at the end.
#if defined(__x86_64__)

#include "avx512.h"
#include "depthwise.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

// ---- int8 ------------------------------------------------------------------------------------------------------

typedef struct {
    const mk_depthwise *s;
    const int8_t *x;
    float *y;
    __m512i even[MK_WIDEST_KERNEL * MK_WIDEST_KERNEL], odd[MK_WIDEST_KERNEL * MK_WIDEST_KERNEL];
    __m512 scales[2], bias[2];
    int32_t channel;
    __mmask32 lanes;
} strip_i8;

MK_INLINE void columns_i8(const void *strip, int32_t row, int32_t column, const int32_t count, mk_taps taps,
                          const int32_t kernel) {
    const strip_i8 *p = strip;
    const mk_depthwise *s = p->s;
    const ptrdiff_t pixel = s->channels, line = s->width * pixel;
    const ptrdiff_t origin = mk_depthwise_origin(s, row, column) + p->channel;
    __m512i even[MK_COLUMNS], odd[MK_COLUMNS];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++) even[i] = odd[i] = _mm512_setzero_si512();
    for (int32_t ky = taps.top; ky < taps.bottom; ky++) {
        for (int32_t kx = taps.left; kx < taps.right; kx++) {
            const __m512i w_even = p->even[ky * kernel + kx], w_odd = p->odd[ky * kernel + kx];
#pragma clang loop unroll(full)
            for (int32_t i = 0; i < count; i++) {
                const int8_t *at = p->x + origin + ky * line + (kx + i * s->stride) * pixel;
                __m512i v = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(p->lanes, at));
                even[i] = _mm512_dpwssd_epi32(even[i], v, w_even);
                odd[i] = _mm512_dpwssd_epi32(odd[i], v, w_odd);
            }
        }
    }
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i high = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    const __m512 least = _mm512_set1_ps(s->low), most = _mm512_set1_ps(s->high);
    for (int32_t i = 0; i < count; i++) {
        float *out = p->y + ((ptrdiff_t)row * s->out_width + column + i) * pixel + p->channel;
        __m512 first = _mm512_cvtepi32_ps(_mm512_permutex2var_epi32(even[i], low, odd[i]));
        __m512 second = _mm512_cvtepi32_ps(_mm512_permutex2var_epi32(even[i], high, odd[i]));
        first = _mm512_add_ps(_mm512_mul_ps(first, p->scales[0]), p->bias[0]);
        second = _mm512_add_ps(_mm512_mul_ps(second, p->scales[1]), p->bias[1]);
        _mm512_storeu_ps(out, mk_clamp512(first, least, most));
        if (p->lanes >> 16) _mm512_storeu_ps(out + 16, mk_clamp512(second, least, most));
    }
}

#define STRIP(name, kernel)                                                                                            \
    MK_INLINE void columns_##name(const void *p, int32_t row, int32_t column, int32_t count, mk_taps taps) {           \
        columns_i8(p, row, column, count, taps, kernel);                                                               \
    }                                                                                                                  \
    static void row_##name(const strip_i8 *p, int32_t row) { mk_walk_row(p->s, p, row, kernel, columns_##name); }
STRIP(3, 3)
STRIP(5, 5)
STRIP(any, ((const strip_i8 *)p)->s->kernel)

static void load_strip(strip_i8 *p, int32_t channel, float x_scale, const int8_t *w, const float *w_scales,
                       const float *bias) {
    const mk_depthwise *s = p->s;
    p->channel = channel;
    p->lanes = s->channels - channel >= 32 ? 0xffffffffu : 0xffffu;
    const __mmask32 evens = 0x55555555u;
    for (int32_t tap = 0; tap < s->kernel * s->kernel; tap++) {
        __m512i v = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(p->lanes, w + (size_t)tap * s->channels + channel));
        p->even[tap] = _mm512_maskz_mov_epi16(evens, v);
        p->odd[tap] = _mm512_maskz_mov_epi16(~evens, v);
    }
    for (int32_t half = 0; half < 2; half++) {
        __mmask16 lanes = (__mmask16)(p->lanes >> 16 * half);
        int32_t at = channel + 16 * half;
        p->scales[half] = _mm512_mul_ps(_mm512_set1_ps(x_scale), _mm512_maskz_loadu_ps(lanes, w_scales + at));
        p->bias[half] = _mm512_maskz_loadu_ps(lanes, bias + at);
    }
}

void mk_avx512vnni_depthwise_i8(const mk_depthwise *shape, const int8_t *x, float x_scale, const int8_t *w,
                                const float *w_scales, const float *bias, int32_t begin, int32_t end, float *y) {
    if (shape->kernel > MK_WIDEST_KERNEL) {
        mk_scalar_depthwise_i8(shape, x, x_scale, w, w_scales, bias, begin, end, y);
        return;
    }
    strip_i8 p = {.s = shape, .x = x, .y = y};
    void (*run)(const strip_i8 *, int32_t) = shape->kernel == 3 ? row_3 : shape->kernel == 5 ? row_5 : row_any;
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 32) {
            load_strip(&p, channel, x_scale, w, w_scales, bias);
            run(&p, row);
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

void mk_avx512vnni_depthwise_f32(const mk_depthwise *shape, const float *x, const float *w, const float *bias,
                                 int32_t begin, int32_t end, float *y) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 16) {
            strip_f32 p = {shape, x, w, bias, y, channel};
            mk_walk_row(shape, &p, row, shape->kernel, columns_f32);
        }
    }
}

MK_AVX512_END

#endif
