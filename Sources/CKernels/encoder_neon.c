// Row kernels of a transformer encoder with NEON. Reductions keep sixteen partial sums by column index, folded in one fixed
// order.
#if defined(__aarch64__)

#include "neon.h"
#include "normal.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_INLINE float sum_of(const float32x4_t parts[4]) {
    return mk_sum4(vaddq_f32(vaddq_f32(parts[0], parts[1]), vaddq_f32(parts[2], parts[3])));
}

void mk_neon_layer_norm(const float *x, int32_t x_stride, const float *weight, const float *bias, int32_t columns,
                        float epsilon, int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        float32x4_t sums[4], squares[4];
        for (int32_t j = 0; j < 4; j++) sums[j] = squares[j] = vdupq_n_f32(0);
        for (int32_t k = 0; k < columns; k += 4) {
            sums[k / 4 % 4] = vaddq_f32(sums[k / 4 % 4], mk_load4(in + k, columns - k, 0));
        }
        const float mean = sum_of(sums) / (float)columns;
        // Absent elements are padded with the mean: they add nothing.
        for (int32_t k = 0; k < columns; k += 4) {
            float32x4_t v = vsubq_f32(mk_load4(in + k, columns - k, mean), vdupq_n_f32(mean));
            squares[k / 4 % 4] = vfmaq_f32(squares[k / 4 % 4], v, v);
        }
        const float inverse = 1.0f / sqrtf(sum_of(squares) / (float)columns + epsilon);
        for (int32_t k = 0; k < columns; k += 4) {
            float32x4_t v = vmulq_n_f32(vsubq_f32(mk_load4(in + k, columns - k, 0), vdupq_n_f32(mean)), inverse);
            float32x4_t shifted =
                vfmaq_f32(mk_load4(bias + k, columns - k, 0), v, mk_load4(weight + k, columns - k, 0));
            mk_store4(out + k, columns - k, shifted);
        }
    }
}

MK_INLINE float32x4_t gelu_4(float32x4_t x) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    float32x4_t a = vabsq_f32(x);
    float32x4_t t = vdivq_f32(one, vfmaq_f32(one, vdupq_n_f32(MK_NORMAL_P), a));
    float32x4_t p = vdupq_n_f32(MK_NORMAL_C8);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C7), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C6), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C5), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C4), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C3), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C2), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C1), p, t);
    p = vfmaq_f32(vdupq_n_f32(MK_NORMAL_C0), p, t);
    float32x4_t z = mk_exp4(vmulq_f32(vmulq_n_f32(a, -0.5f), a));
    float32x4_t tail = vmulq_f32(x, vmulq_f32(vmulq_f32(p, t), z));
    return vbslq_f32(vcltzq_f32(x), tail, vsubq_f32(x, tail));
}

void mk_neon_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 4) {
        int64_t remaining = (int64_t)(count - i);
        mk_store4(x + i, remaining, gelu_4(mk_load4(x + i, remaining, 0)));
    }
}

void mk_neon_quick_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 4) {
        int64_t remaining = (int64_t)(count - i);
        float32x4_t v = mk_load4(x + i, remaining, 0);
        float32x4_t z = mk_exp4(vnegq_f32(vabsq_f32(vmulq_n_f32(v, MK_QUICK_GELU))));
        float32x4_t numerator = vbslq_f32(vcltzq_f32(v), vmulq_f32(v, z), v);
        mk_store4(x + i, remaining, vdivq_f32(numerator, vaddq_f32(vdupq_n_f32(1.0f), z)));
    }
}

#endif
