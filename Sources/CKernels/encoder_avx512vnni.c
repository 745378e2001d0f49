// Row kernels of a transformer encoder with AVX-512. Reductions keep thirty-two partial sums by column index, folded in one
// fixed order.
#if defined(__x86_64__)

#include "avx512.h"
#include "normal.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

void mk_avx512vnni_layer_norm(const float *x, int32_t x_stride, const float *weight, const float *bias,
                              int32_t columns, float epsilon, int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (int32_t k = 0; k < columns; k += 16) {
            __m512 v = _mm512_maskz_loadu_ps(mk_lanes(columns - k), in + k);
            sums[k / 16 % 2] = _mm512_add_ps(v, sums[k / 16 % 2]);
        }
        const __m512 mean = _mm512_set1_ps(mk_sum512(_mm512_add_ps(sums[0], sums[1])) / (float)columns);
        __m512 squares[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (int32_t k = 0; k < columns; k += 16) {
            __mmask16 lanes = mk_lanes(columns - k);
            __m512 v = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, in + k), mean);
            squares[k / 16 % 2] = _mm512_fmadd_ps(v, v, squares[k / 16 % 2]);
        }
        float variance = mk_sum512(_mm512_add_ps(squares[0], squares[1])) / (float)columns;
        const __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(variance + epsilon));
        for (int32_t k = 0; k < columns; k += 16) {
            __mmask16 lanes = mk_lanes(columns - k);
            __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, in + k), mean), inverse);
            v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(lanes, weight + k), _mm512_maskz_loadu_ps(lanes, bias + k));
            _mm512_mask_storeu_ps(out + k, lanes, v);
        }
    }
}

MK_INLINE __m512 gelu_16(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 a = _mm512_abs_ps(x);
    __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(_mm512_set1_ps(MK_NORMAL_P), a, one));
    __m512 p = _mm512_set1_ps(MK_NORMAL_C8);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C7));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C6));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C5));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C4));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C3));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C2));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C1));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(MK_NORMAL_C0));
    __m512 z = mk_exp512(_mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(-0.5f), a), a));
    __m512 tail = _mm512_mul_ps(x, _mm512_mul_ps(_mm512_mul_ps(p, t), z));
    return _mm512_mask_mov_ps(
        _mm512_sub_ps(x, tail), _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), tail);
}

void mk_avx512vnni_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 16) {
        __mmask16 lanes = mk_lanes((int64_t)(count - i));
        _mm512_mask_storeu_ps(x + i, lanes, gelu_16(_mm512_maskz_loadu_ps(lanes, x + i)));
    }
}

void mk_avx512vnni_quick_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 16) {
        __mmask16 lanes = mk_lanes((int64_t)(count - i));
        __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
        __m512 z = mk_exp512(_mm512_or_ps(_mm512_mul_ps(_mm512_set1_ps(MK_QUICK_GELU), v), _mm512_set1_ps(-0.0f)));
        __mmask16 negative = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ);
        __m512 numerator = _mm512_mask_mul_ps(v, negative, v, z);
        _mm512_mask_storeu_ps(x + i, lanes, _mm512_div_ps(numerator, _mm512_add_ps(_mm512_set1_ps(1.0f), z)));
    }
}

MK_AVX512_END

#endif
