// Depthwise convolution with AVX2, sixteen channels at a time, four output columns together.
//
// int8: a tap's 16 bytes widen to int16; pmaddwd with the odd weights zeroed leaves the products of the even channels in
// int32 lanes, and the other way round. Exact; the halves are interleaved once, at the end.
#if defined(__x86_64__)

#include "avx2.h"
#include "depthwise.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX2_BEGIN

// ---- int8 ------------------------------------------------------------------------------------------------------

typedef struct {
    const mk_depthwise *s;
    const int8_t *x;
    float *y;
    __m256i even[MK_WIDEST_KERNEL * MK_WIDEST_KERNEL], odd[MK_WIDEST_KERNEL * MK_WIDEST_KERNEL];
    __m256 scales[2], bias[2];
    int32_t channel;
} strip_i8;

MK_INLINE void columns_i8(const void *strip, int32_t row, int32_t column, const int32_t count, mk_taps taps,
                          const int32_t kernel) {
    const strip_i8 *p = strip;
    const mk_depthwise *s = p->s;
    const ptrdiff_t pixel = s->channels, line = s->width * pixel;
    const ptrdiff_t origin = mk_depthwise_origin(s, row, column) + p->channel;
    __m256i even[MK_COLUMNS], odd[MK_COLUMNS];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++) even[i] = odd[i] = _mm256_setzero_si256();
    for (int32_t ky = taps.top; ky < taps.bottom; ky++) {
        for (int32_t kx = taps.left; kx < taps.right; kx++) {
            const __m256i w_even = p->even[ky * kernel + kx], w_odd = p->odd[ky * kernel + kx];
#pragma clang loop unroll(full)
            for (int32_t i = 0; i < count; i++) {
                const int8_t *at = p->x + origin + ky * line + (kx + i * s->stride) * pixel;
                __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
                even[i] = _mm256_add_epi32(even[i], _mm256_madd_epi16(v, w_even));
                odd[i] = _mm256_add_epi32(odd[i], _mm256_madd_epi16(v, w_odd));
            }
        }
    }
    const __m256 least = _mm256_set1_ps(s->low), most = _mm256_set1_ps(s->high);
    for (int32_t i = 0; i < count; i++) {
        float *out = p->y + ((ptrdiff_t)row * s->out_width + column + i) * pixel + p->channel;
        // Channels 0-3 and 8-11, channels 4-7 and 12-15.
        __m256i outer = _mm256_unpacklo_epi32(even[i], odd[i]), inner = _mm256_unpackhi_epi32(even[i], odd[i]);
        __m256 first = _mm256_cvtepi32_ps(_mm256_permute2x128_si256(outer, inner, 0x20));
        __m256 second = _mm256_cvtepi32_ps(_mm256_permute2x128_si256(outer, inner, 0x31));
        first = _mm256_add_ps(_mm256_mul_ps(first, p->scales[0]), p->bias[0]);
        second = _mm256_add_ps(_mm256_mul_ps(second, p->scales[1]), p->bias[1]);
        _mm256_storeu_ps(out, mk_clamp256(first, least, most));
        _mm256_storeu_ps(out + 8, mk_clamp256(second, least, most));
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
    const __m256i evens = _mm256_set1_epi32(0xffff);
    p->channel = channel;
    for (int32_t tap = 0; tap < s->kernel * s->kernel; tap++) {
        const int8_t *at = w + (size_t)tap * s->channels + channel;
        __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
        p->even[tap] = _mm256_and_si256(v, evens);
        p->odd[tap] = _mm256_andnot_si256(evens, v);
    }
    for (int32_t half = 0; half < 2; half++) {
        int32_t at = channel + 8 * half;
        p->scales[half] = _mm256_mul_ps(_mm256_set1_ps(x_scale), _mm256_loadu_ps(w_scales + at));
        p->bias[half] = _mm256_loadu_ps(bias + at);
    }
}

void mk_avx2_depthwise_i8(const mk_depthwise *shape, const int8_t *x, float x_scale, const int8_t *w,
                          const float *w_scales, const float *bias, int32_t begin, int32_t end, float *y) {
    if (shape->kernel > MK_WIDEST_KERNEL) {
        mk_scalar_depthwise_i8(shape, x, x_scale, w, w_scales, bias, begin, end, y);
        return;
    }
    strip_i8 p = {.s = shape, .x = x, .y = y};
    void (*run)(const strip_i8 *, int32_t) = shape->kernel == 3 ? row_3 : shape->kernel == 5 ? row_5 : row_any;
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 16) {
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
    __m256 sums[MK_COLUMNS];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < count; i++) sums[i] = _mm256_setzero_ps();
    for (int32_t ky = taps.top; ky < taps.bottom; ky++) {
        for (int32_t kx = taps.left; kx < taps.right; kx++) {
            __m256 weight = _mm256_loadu_ps(p->w + (ky * s->kernel + kx) * pixel + p->channel);
#pragma clang loop unroll(full)
            for (int32_t i = 0; i < count; i++) {
                const float *at = p->x + origin + ky * line + (kx + i * s->stride) * pixel;
                sums[i] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(at), sums[i]);
            }
        }
    }
    const __m256 bias = _mm256_loadu_ps(p->bias + p->channel);
    for (int32_t i = 0; i < count; i++) {
        float *out = p->y + ((ptrdiff_t)row * s->out_width + column + i) * pixel + p->channel;
        _mm256_storeu_ps(out, mk_clamp256(_mm256_add_ps(sums[i], bias), _mm256_set1_ps(s->low), _mm256_set1_ps(s->high)));
    }
}

void mk_avx2_depthwise_f32(const mk_depthwise *shape, const float *x, const float *w, const float *bias, int32_t begin,
                           int32_t end, float *y) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t channel = 0; channel < shape->channels; channel += 8) {
            strip_f32 p = {shape, x, w, bias, y, channel};
            mk_walk_row(shape, &p, row, shape->kernel, columns_f32);
        }
    }
}

MK_AVX2_END

#endif
