// Row kernels of a transformer encoder with AVX2. Reductions keep sixteen partial sums by column index, folded in one fixed
// order.
#if defined(__x86_64__)

#include "avx2.h"
#include "normal.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX2_BEGIN

void mk_avx2_layer_norm(const float *x, int32_t x_stride, const float *weight, const float *bias, int32_t columns,
                        float epsilon, int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int32_t k = 0; k < columns; k += 8) {
            __m256 v = _mm256_maskload_ps(in + k, mk_lanes8(columns - k));
            sums[k / 8 % 2] = _mm256_add_ps(v, sums[k / 8 % 2]);
        }
        const __m256 mean = _mm256_set1_ps(mk_sum256(_mm256_add_ps(sums[0], sums[1])) / (float)columns);
        __m256 squares[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int32_t k = 0; k < columns; k += 8) {
            __m256i lanes = mk_lanes8(columns - k);
            __m256 v = _mm256_sub_ps(_mm256_maskload_ps(in + k, lanes), mean);
            v = _mm256_and_ps(v, _mm256_castsi256_ps(lanes));
            squares[k / 8 % 2] = _mm256_fmadd_ps(v, v, squares[k / 8 % 2]);
        }
        float variance = mk_sum256(_mm256_add_ps(squares[0], squares[1])) / (float)columns;
        const __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(variance + epsilon));
        for (int32_t k = 0; k < columns; k += 8) {
            __m256i lanes = mk_lanes8(columns - k);
            __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_maskload_ps(in + k, lanes), mean), inverse);
            v = _mm256_fmadd_ps(v, _mm256_maskload_ps(weight + k, lanes), _mm256_maskload_ps(bias + k, lanes));
            _mm256_maskstore_ps(out + k, lanes, v);
        }
    }
}

MK_INLINE __m256 gelu_8(__m256 x) {
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 a = mk_abs256(x);
    __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(_mm256_set1_ps(MK_NORMAL_P), a, one));
    __m256 p = _mm256_set1_ps(MK_NORMAL_C8);
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C7));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C6));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C5));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C4));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C3));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C2));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C1));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(MK_NORMAL_C0));
    __m256 z = mk_exp256(_mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(-0.5f), a), a));
    __m256 tail = _mm256_mul_ps(x, _mm256_mul_ps(_mm256_mul_ps(p, t), z));
    return _mm256_blendv_ps(_mm256_sub_ps(x, tail), tail, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}

void mk_avx2_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        __m256i lanes = mk_lanes8((int64_t)(count - i));
        _mm256_maskstore_ps(x + i, lanes, gelu_8(_mm256_maskload_ps(x + i, lanes)));
    }
}

void mk_avx2_quick_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        __m256i lanes = mk_lanes8((int64_t)(count - i));
        __m256 v = _mm256_maskload_ps(x + i, lanes);
        __m256 scaled = _mm256_mul_ps(_mm256_set1_ps(MK_QUICK_GELU), v);
        __m256 z = mk_exp256(_mm256_or_ps(scaled, _mm256_set1_ps(-0.0f)));
        __m256 negative = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ);
        __m256 numerator = _mm256_blendv_ps(v, _mm256_mul_ps(v, z), negative);
        _mm256_maskstore_ps(x + i, lanes, _mm256_div_ps(numerator, _mm256_add_ps(_mm256_set1_ps(1.0f), z)));
    }
}

MK_AVX2_END

#endif
