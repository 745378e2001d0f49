// Row kernels with AVX2: quantisation, norms, rotary embedding, activations. Reductions keep eight or sixteen partial sums by
// column index, folded in one fixed order.
#if defined(__x86_64__)

#include "avx2.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX2_BEGIN

// max keeps its second operand when the first is NaN: NaN never enters.
float mk_avx2_max_abs(const float *x, size_t count) {
    __m256 maxima[4];
    for (int32_t j = 0; j < 4; j++) maxima[j] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        for (size_t j = 0; j < 4; j++) maxima[j] = _mm256_max_ps(mk_abs256(_mm256_loadu_ps(x + i + 8 * j)), maxima[j]);
    }
    for (; i < count; i += 8) {
        maxima[0] = _mm256_max_ps(mk_abs256(_mm256_maskload_ps(x + i, mk_lanes8((int64_t)(count - i)))), maxima[0]);
    }
    return mk_maximum256(_mm256_max_ps(_mm256_max_ps(maxima[0], maxima[1]), _mm256_max_ps(maxima[2], maxima[3])));
}

// Eight elements from x, absent ones as 0.
MK_INLINE __m256 values_8(const float *x, int64_t remaining) { return _mm256_maskload_ps(x, mk_lanes8(remaining)); }

// clamp(round-half-even(v), -127, 127), NaN as 0.
MK_INLINE __m256i quantize_8(__m256 v) {
    __m256 number = _mm256_cmp_ps(v, v, _CMP_ORD_Q);
    v = mk_clamp256(v, _mm256_set1_ps(-127.0f), _mm256_set1_ps(127.0f));
    v = _mm256_round_ps(_mm256_and_ps(v, number), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm256_cvttps_epi32(v);
}

// Sixteen integers as bytes. Packing works within halves: reorder to low 0-7, high 0-7 in between.
MK_INLINE void store_16(int8_t *values, __m256i low, __m256i high) {
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_store_si128((__m128i *)values, bytes);
}

MK_INLINE int32_t sum_of(__m256i v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

static void quantize_row(const float *x, int32_t row, float inverse, mk_activations_i8 *out) {
    int8_t *values = out->values + (size_t)row * out->stride;
    const __m256 factor = _mm256_set1_ps(inverse);
    __m256i sum = _mm256_setzero_si256();
    for (int32_t k = 0; k < out->stride; k += 16) {
        __m256i low = quantize_8(_mm256_mul_ps(values_8(x + k, out->columns - k), factor));
        __m256i high = quantize_8(_mm256_mul_ps(values_8(x + k + 8, out->columns - k - 8), factor));
        sum = _mm256_add_epi32(sum, _mm256_add_epi32(low, high));
        store_16(values + k, low, high);
    }
    out->sums[row] = sum_of(sum);
}

void mk_avx2_quantize_rows(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        mk_scaling scaling = mk_scaling_of(mk_avx2_max_abs(source, (size_t)out->columns));
        out->scales[row] = scaling.scale;
        quantize_row(source, row, scaling.inverse, out);
    }
}

// Both planes of sixteen elements, and their sums.
MK_INLINE void planes_16(__m256 low, __m256 high, __m256 factor, __m256 unscale, int8_t *coarse, int8_t *fine,
                         __m256i sums[2]) {
    const __m256 values[2] = {low, high}, steps = _mm256_set1_ps(MK_FINE_STEPS);
    __m256i q1[2], q2[2];
#pragma clang loop unroll(full)
    for (int32_t half = 0; half < 2; half++) {
        q1[half] = quantize_8(_mm256_mul_ps(values[half], factor));
        __m256 left = _mm256_sub_ps(_mm256_mul_ps(values[half], unscale), _mm256_cvtepi32_ps(q1[half]));
        q2[half] = quantize_8(_mm256_mul_ps(left, steps));
    }
    store_16(coarse, q1[0], q1[1]);
    store_16(fine, q2[0], q2[1]);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_add_epi32(q1[0], q1[1]));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_add_epi32(q2[0], q2[1]));
}

void mk_avx2_quantize_planes(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        const mk_scaling scaling = mk_scaling_of(mk_avx2_max_abs(source, (size_t)out->columns));
        const __m256 factor = _mm256_set1_ps(scaling.inverse), unscale = _mm256_set1_ps(1.0f / scaling.scale);
        const int32_t columns = out->columns, stride = out->stride;
        int8_t *coarse = out->values + (size_t)2 * row * stride, *fine = coarse + stride;
        __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        int32_t k = 0;
        for (; k + 16 <= columns; k += 16) {
            planes_16(_mm256_loadu_ps(source + k), _mm256_loadu_ps(source + k + 8), factor, unscale, coarse + k,
                      fine + k, sums);
        }
        for (; k < stride; k += 16) {
            planes_16(values_8(source + k, columns - k), values_8(source + k + 8, columns - k - 8), factor, unscale,
                      coarse + k, fine + k, sums);
        }
        out->scales[2 * row] = scaling.scale;
        out->scales[2 * row + 1] = scaling.scale / MK_FINE_STEPS;
        for (int32_t plane = 0; plane < 2; plane++) out->sums[2 * row + plane] = sum_of(sums[plane]);
    }
}

void mk_avx2_quantize_rows_with_scale(const float *x, int32_t x_stride, int32_t begin, int32_t end, float scale,
                                      float inverse_scale, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        out->scales[row] = scale;
        quantize_row(x + (size_t)row * x_stride, row, inverse_scale, out);
    }
}

void mk_avx2_rms_norm(const float *x, int32_t x_stride, const float *weight, int32_t columns, float epsilon,
                      int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        __m256 squares[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int32_t k = 0; k < columns; k += 8) {
            __m256 v = _mm256_maskload_ps(in + k, mk_lanes8(columns - k));
            squares[k / 8 % 2] = _mm256_fmadd_ps(v, v, squares[k / 8 % 2]);
        }
        float sum = mk_sum256(_mm256_add_ps(squares[0], squares[1]));
        __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(sum / (float)columns + epsilon));
        for (int32_t k = 0; k < columns; k += 8) {
            __m256i lanes = mk_lanes8(columns - k);
            __m256 v = _mm256_mul_ps(_mm256_maskload_ps(in + k, lanes), inverse);
            _mm256_maskstore_ps(out + k, lanes, _mm256_mul_ps(v, _mm256_maskload_ps(weight + k, lanes)));
        }
    }
}

// Even lanes take x c - y s, odd lanes y c + x s: fmaddsub of (x, y) * (c, c) and (y, x) * (s, s).
void mk_avx2_rope(float *x, int32_t heads, int32_t head_size, const float *cosines, const float *sines) {
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    for (int32_t i = 0; i < head_size; i += 8) {
        __m256i lanes = mk_lanes8(head_size - i), pairs = mk_lanes8(mk_min_i32(4, (head_size - i) / 2));
        __m256 c = _mm256_permutevar8x32_ps(_mm256_maskload_ps(cosines + i / 2, pairs), twice);
        __m256 s = _mm256_permutevar8x32_ps(_mm256_maskload_ps(sines + i / 2, pairs), twice);
        for (int32_t head = 0; head < heads; head++) {
            float *at = x + (size_t)head * head_size + i;
            __m256 v = _mm256_maskload_ps(at, lanes);
            __m256 swapped = _mm256_permute_ps(v, 0xb1);
            _mm256_maskstore_ps(at, lanes, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s)));
        }
    }
}

void mk_avx2_swiglu(const float *x, int32_t x_stride, int32_t panels, int32_t begin, int32_t end, float *y,
                    int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        for (int32_t i = 0; i < panels * MK_PANEL; i += 8) {
            const float *gate = in + i / MK_PANEL * 2 * MK_PANEL + i % MK_PANEL;
            __m256 gated = mk_silu256(_mm256_loadu_ps(gate));
            _mm256_storeu_ps(out + i, _mm256_mul_ps(gated, _mm256_loadu_ps(gate + MK_PANEL)));
        }
    }
}

void mk_avx2_silu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        __m256i lanes = mk_lanes8((int64_t)(count - i));
        _mm256_maskstore_ps(x + i, lanes, mk_silu256(_mm256_maskload_ps(x + i, lanes)));
    }
}

// Eight logits from x; lanes beyond the end hold -infinity.
MK_INLINE __m256 logits_8(const float *x, __m256i lanes) {
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_maskload_ps(x, lanes), _mm256_castsi256_ps(lanes));
}

void mk_avx2_argmax_logsumexp(const float *x, int32_t count, int32_t *index, float *maximum, float *logsumexp) {
    __m256 maxima[2] = {_mm256_set1_ps(-INFINITY), _mm256_set1_ps(-INFINITY)};
    for (int32_t i = 0; i < count; i += 8) {
        maxima[i / 8 % 2] = _mm256_max_ps(logits_8(x + i, mk_lanes8(count - i)), maxima[i / 8 % 2]);
    }
    const __m256 top = _mm256_set1_ps(mk_maximum256(_mm256_max_ps(maxima[0], maxima[1])));

    __m256d sums[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    int32_t first = -1;
    for (int32_t i = 0; i < count; i += 8) {
        __m256i lanes = mk_lanes8(count - i);
        __m256 v = logits_8(x + i, lanes);
        __m256 present = _mm256_castsi256_ps(lanes);
        int32_t equal = _mm256_movemask_ps(_mm256_and_ps(_mm256_cmp_ps(v, top, _CMP_EQ_OQ), present));
        if (first < 0 && equal) first = i + __builtin_ctz((uint32_t)equal);
        __m256 terms = _mm256_and_ps(mk_exp256(_mm256_sub_ps(v, top)), present);
        sums[0] = _mm256_add_pd(sums[0], _mm256_cvtps_pd(_mm256_castps256_ps128(terms)));
        sums[1] = _mm256_add_pd(sums[1], _mm256_cvtps_pd(_mm256_extractf128_ps(terms, 1)));
    }
    double parts[4], sum = 0;
    _mm256_storeu_pd(parts, _mm256_add_pd(sums[0], sums[1]));
    for (int32_t i = 0; i < 4; i++) sum += parts[i];
    // No element equals the maximum only where every element is NaN.
    *index = first < 0 ? 0 : first;
    *maximum = x[*index];
    *logsumexp = mk_logsumexp(x[*index], sum);
}

MK_AVX2_END

#endif
