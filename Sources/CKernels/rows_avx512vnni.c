// Row kernels with AVX-512: quantisation, norms, rotary embedding, activations. Reductions keep sixteen partial sums by
// column index, folded in one fixed order.
#if defined(__x86_64__)

#include "avx512.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

MK_INLINE float maximum_of(__m512 v) {
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// max keeps its second operand when the first is NaN: NaN never enters.
float mk_avx512vnni_max_abs(const float *x, size_t count) {
    __m512 maxima[4];
    for (int32_t j = 0; j < 4; j++) maxima[j] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        for (size_t j = 0; j < 4; j++) {
            maxima[j] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i + 16 * j)), maxima[j]);
        }
    }
    for (; i < count; i += 16) {
        __m512 part = _mm512_maskz_loadu_ps(mk_lanes((int64_t)(count - i)), x + i);
        maxima[0] = _mm512_max_ps(_mm512_abs_ps(part), maxima[0]);
    }
    return maximum_of(_mm512_max_ps(_mm512_max_ps(maxima[0], maxima[1]), _mm512_max_ps(maxima[2], maxima[3])));
}

// clamp(round-half-even(v), -127, 127), NaN as 0.
MK_INLINE __m512i quantize_16(__m512 v) {
    __mmask16 numbers = _mm512_cmp_ps_mask(v, v, _CMP_ORD_Q);
    v = mk_clamp512(v, _mm512_set1_ps(-127.0f), _mm512_set1_ps(127.0f));
    return _mm512_maskz_cvt_roundps_epi32(numbers, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static void quantize_row(const float *x, int32_t row, float inverse, mk_activations_i8 *out) {
    int8_t *values = out->values + (size_t)row * out->stride;
    const __m512 factor = _mm512_set1_ps(inverse);
    __m512i sum = _mm512_setzero_si512();
    int32_t k = 0;
    for (; k + 16 <= out->columns; k += 16) {
        __m512i q = quantize_16(_mm512_mul_ps(_mm512_loadu_ps(x + k), factor));
        sum = _mm512_add_epi32(sum, q);
        _mm_store_si128((__m128i *)(values + k), _mm512_cvtepi32_epi8(q));
    }
    for (; k < out->stride; k += 16) {
        __mmask16 lanes = k < out->columns ? mk_lanes(out->columns - k) : 0;
        __m512i q = quantize_16(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + k), factor));
        sum = _mm512_add_epi32(sum, q);
        _mm_store_si128((__m128i *)(values + k), _mm512_cvtepi32_epi8(q));
    }
    out->sums[row] = _mm512_reduce_add_epi32(sum);
}

void mk_avx512vnni_quantize_rows(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        mk_scaling scaling = mk_scaling_of(mk_avx512vnni_max_abs(source, (size_t)out->columns));
        out->scales[row] = scaling.scale;
        quantize_row(source, row, scaling.inverse, out);
    }
}

// Both planes of sixteen elements, and their sums.
MK_INLINE void planes_16(__m512 v, __m512 factor, __m512 unscale, int8_t *coarse, int8_t *fine, __m512i sums[2]) {
    __m512i q1 = quantize_16(_mm512_mul_ps(v, factor));
    __m512 left = _mm512_sub_ps(_mm512_mul_ps(v, unscale), _mm512_cvtepi32_ps(q1));
    __m512i q2 = quantize_16(_mm512_mul_ps(left, _mm512_set1_ps(MK_FINE_STEPS)));
    _mm_store_si128((__m128i *)coarse, _mm512_cvtepi32_epi8(q1));
    _mm_store_si128((__m128i *)fine, _mm512_cvtepi32_epi8(q2));
    sums[0] = _mm512_add_epi32(sums[0], q1);
    sums[1] = _mm512_add_epi32(sums[1], q2);
}

void mk_avx512vnni_quantize_planes(const float *x, int32_t x_stride, int32_t begin, int32_t end,
                                   mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        const mk_scaling scaling = mk_scaling_of(mk_avx512vnni_max_abs(source, (size_t)out->columns));
        const __m512 factor = _mm512_set1_ps(scaling.inverse), unscale = _mm512_set1_ps(1.0f / scaling.scale);
        const int32_t columns = out->columns, stride = out->stride;
        int8_t *coarse = out->values + (size_t)2 * row * stride, *fine = coarse + stride;
        __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        int32_t k = 0;
        for (; k + 16 <= columns; k += 16) {
            planes_16(_mm512_loadu_ps(source + k), factor, unscale, coarse + k, fine + k, sums);
        }
        for (; k < stride; k += 16) {
            __m512 v = _mm512_maskz_loadu_ps(k < columns ? mk_lanes(columns - k) : 0, source + k);
            planes_16(v, factor, unscale, coarse + k, fine + k, sums);
        }
        out->scales[2 * row] = scaling.scale;
        out->scales[2 * row + 1] = scaling.scale / MK_FINE_STEPS;
        for (int32_t plane = 0; plane < 2; plane++) out->sums[2 * row + plane] = _mm512_reduce_add_epi32(sums[plane]);
    }
}

void mk_avx512vnni_quantize_rows_with_scale(const float *x, int32_t x_stride, int32_t begin, int32_t end, float scale,
                                            float inverse_scale, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        out->scales[row] = scale;
        quantize_row(x + (size_t)row * x_stride, row, inverse_scale, out);
    }
}

void mk_avx512vnni_rms_norm(const float *x, int32_t x_stride, const float *weight, int32_t columns, float epsilon,
                            int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        __m512 squares[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (int32_t k = 0; k < columns; k += 16) {
            __m512 v = _mm512_maskz_loadu_ps(mk_lanes(columns - k), in + k);
            squares[k / 16 % 2] = _mm512_fmadd_ps(v, v, squares[k / 16 % 2]);
        }
        float sum = mk_sum512(_mm512_add_ps(squares[0], squares[1]));
        __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(sum / (float)columns + epsilon));
        for (int32_t k = 0; k < columns; k += 16) {
            __mmask16 lanes = mk_lanes(columns - k);
            __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, in + k), inverse);
            _mm512_mask_storeu_ps(out + k, lanes, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, weight + k)));
        }
    }
}

// Even lanes take x c - y s, odd lanes y c + x s: fmaddsub of (x, y) * (c, c) and (y, x) * (s, s).
void mk_avx512vnni_rope(float *x, int32_t heads, int32_t head_size, const float *cosines, const float *sines) {
    const __m512i twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    for (int32_t i = 0; i < head_size; i += 16) {
        __mmask16 lanes = mk_lanes(head_size - i), pairs = mk_lanes((head_size - i) / 2) & 0xff;
        __m512 c = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(pairs, cosines + i / 2));
        __m512 s = _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(pairs, sines + i / 2));
        for (int32_t head = 0; head < heads; head++) {
            float *at = x + (size_t)head * head_size + i;
            __m512 v = _mm512_maskz_loadu_ps(lanes, at);
            __m512 swapped = _mm512_permute_ps(v, 0xb1);
            _mm512_mask_storeu_ps(at, lanes, _mm512_fmaddsub_ps(v, c, _mm512_mul_ps(swapped, s)));
        }
    }
}

void mk_avx512vnni_swiglu(const float *x, int32_t x_stride, int32_t panels, int32_t begin, int32_t end, float *y,
                          int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        for (int32_t panel = 0; panel < panels; panel++) {
            __m512 gate = _mm512_loadu_ps(in + 2 * MK_PANEL * panel);
            __m512 up = _mm512_loadu_ps(in + 2 * MK_PANEL * panel + MK_PANEL);
            _mm512_storeu_ps(out + MK_PANEL * panel, _mm512_mul_ps(mk_silu512(gate), up));
        }
    }
}

void mk_avx512vnni_silu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 16) {
        __mmask16 lanes = mk_lanes((int64_t)(count - i));
        _mm512_mask_storeu_ps(x + i, lanes, mk_silu512(_mm512_maskz_loadu_ps(lanes, x + i)));
    }
}

void mk_avx512vnni_argmax_logsumexp(const float *x, int32_t count, int32_t *index, float *maximum, float *logsumexp) {
    const __m512 least = _mm512_set1_ps(-INFINITY);
    __m512 maxima[2] = {least, least};
    for (int32_t i = 0; i < count; i += 16) {
        __m512 v = _mm512_mask_loadu_ps(least, mk_lanes(count - i), x + i);
        maxima[i / 16 % 2] = _mm512_max_ps(v, maxima[i / 16 % 2]);
    }
    float highest = maximum_of(_mm512_max_ps(maxima[0], maxima[1]));

    const __m512 top = _mm512_set1_ps(highest);
    __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    int32_t first = -1;
    for (int32_t i = 0; i < count; i += 16) {
        __mmask16 lanes = mk_lanes(count - i);
        __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
        __mmask16 equal = _mm512_mask_cmp_ps_mask(lanes, v, top, _CMP_EQ_OQ);
        if (first < 0 && equal) first = i + __builtin_ctz(equal);
        __m512 terms = _mm512_maskz_mov_ps(lanes, mk_exp512(_mm512_sub_ps(v, top)));
        sums[0] = _mm512_add_pd(sums[0], _mm512_cvtps_pd(_mm512_castps512_ps256(terms)));
        sums[1] = _mm512_add_pd(sums[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(terms, 1)));
    }
    double lanes[8], sum = 0;
    _mm512_storeu_pd(lanes, _mm512_add_pd(sums[0], sums[1]));
    for (int32_t i = 0; i < 8; i++) sum += lanes[i];
    // No element equals the maximum only where every element is NaN.
    *index = first < 0 ? 0 : first;
    *maximum = x[*index];
    *logsumexp = mk_logsumexp(x[*index], sum);
}

MK_AVX512_END

#endif
