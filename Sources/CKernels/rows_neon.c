// Row kernels with NEON: quantisation, norms, rotary embedding, activations. Reductions keep four or more partial sums by
// column index, folded in one fixed order.
#if defined(__aarch64__)

#include "neon.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

float mk_neon_max_abs(const float *x, size_t count) {
    float32x4_t maxima[4];
    for (int32_t j = 0; j < 4; j++) maxima[j] = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (size_t j = 0; j < 4; j++) maxima[j] = mk_larger4(vabsq_f32(vld1q_f32(x + i + 4 * j)), maxima[j]);
    }
    for (; i < count; i += 4) maxima[0] = mk_larger4(vabsq_f32(mk_load4(x + i, (int64_t)(count - i), 0)), maxima[0]);
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(maxima[0], maxima[1]), vmaxq_f32(maxima[2], maxima[3])));
}

// Elements k ... k + 3 of a row of `columns`, absent ones as 0.
MK_INLINE float32x4_t values_4(const float *x, int32_t k, int32_t columns) {
    return mk_load4(x + mk_min_i32(k, columns), columns - k, 0);
}

// clamp(round-half-even(v), -127, 127); vcvtn gives 0 for NaN.
MK_INLINE int32x4_t quantize_4(float32x4_t v) {
    return vcvtnq_s32_f32(mk_clamp4(v, vdupq_n_f32(-127.0f), vdupq_n_f32(127.0f)));
}

MK_INLINE void store_8(int8_t *values, int32x4_t low, int32x4_t high) {
    vst1_s8(values, vmovn_s16(vcombine_s16(vmovn_s32(low), vmovn_s32(high))));
}

static void quantize_row(const float *x, int32_t row, float inverse, mk_activations_i8 *out) {
    int8_t *values = out->values + (size_t)row * out->stride;
    int32x4_t sum = vdupq_n_s32(0);
    for (int32_t k = 0; k < out->stride; k += 8) {
        int32x4_t low = quantize_4(vmulq_n_f32(values_4(x, k, out->columns), inverse));
        int32x4_t high = quantize_4(vmulq_n_f32(values_4(x, k + 4, out->columns), inverse));
        sum = vaddq_s32(sum, vaddq_s32(low, high));
        store_8(values + k, low, high);
    }
    out->sums[row] = vaddvq_s32(sum);
}

void mk_neon_quantize_rows(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        mk_scaling scaling = mk_scaling_of(mk_neon_max_abs(source, (size_t)out->columns));
        out->scales[row] = scaling.scale;
        quantize_row(source, row, scaling.inverse, out);
    }
}

void mk_neon_quantize_planes(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        const mk_scaling scaling = mk_scaling_of(mk_neon_max_abs(source, (size_t)out->columns));
        const float unscale = 1.0f / scaling.scale;
        int8_t *coarse = out->values + (size_t)2 * row * out->stride, *fine = coarse + out->stride;
        int32x4_t coarse_sum = vdupq_n_s32(0), fine_sum = vdupq_n_s32(0);
        for (int32_t k = 0; k < out->stride; k += 8) {
            int32x4_t q1[2], q2[2];
            for (int32_t half = 0; half < 2; half++) {
                float32x4_t v = values_4(source, k + 4 * half, out->columns);
                q1[half] = quantize_4(vmulq_n_f32(v, scaling.inverse));
                float32x4_t left = vsubq_f32(vmulq_n_f32(v, unscale), vcvtq_f32_s32(q1[half]));
                q2[half] = quantize_4(vmulq_n_f32(left, MK_FINE_STEPS));
                coarse_sum = vaddq_s32(coarse_sum, q1[half]);
                fine_sum = vaddq_s32(fine_sum, q2[half]);
            }
            store_8(coarse + k, q1[0], q1[1]);
            store_8(fine + k, q2[0], q2[1]);
        }
        out->scales[2 * row] = scaling.scale;
        out->scales[2 * row + 1] = scaling.scale / MK_FINE_STEPS;
        out->sums[2 * row] = vaddvq_s32(coarse_sum);
        out->sums[2 * row + 1] = vaddvq_s32(fine_sum);
    }
}

void mk_neon_quantize_rows_with_scale(const float *x, int32_t x_stride, int32_t begin, int32_t end, float scale,
                                      float inverse_scale, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        out->scales[row] = scale;
        quantize_row(x + (size_t)row * x_stride, row, inverse_scale, out);
    }
}

void mk_neon_rms_norm(const float *x, int32_t x_stride, const float *weight, int32_t columns, float epsilon,
                      int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        float32x4_t squares[4];
        for (int32_t j = 0; j < 4; j++) squares[j] = vdupq_n_f32(0);
        for (int32_t k = 0; k < columns; k += 4) {
            float32x4_t v = mk_load4(in + k, columns - k, 0);
            squares[k / 4 % 4] = vfmaq_f32(squares[k / 4 % 4], v, v);
        }
        float sum = mk_sum4(vaddq_f32(vaddq_f32(squares[0], squares[1]), vaddq_f32(squares[2], squares[3])));
        float inverse = 1.0f / sqrtf(sum / (float)columns + epsilon);
        for (int32_t k = 0; k < columns; k += 4) {
            float32x4_t v = vmulq_n_f32(mk_load4(in + k, columns - k, 0), inverse);
            mk_store4(out + k, columns - k, vmulq_f32(v, mk_load4(weight + k, columns - k, 0)));
        }
    }
}

// Four pairs at a time: loads apart the even and the odd elements.
void mk_neon_rope(float *x, int32_t heads, int32_t head_size, const float *cosines, const float *sines) {
    for (int32_t i = 0; i < head_size / 2; i += 4) {
        float32x4_t c = vld1q_f32(cosines + i), s = vld1q_f32(sines + i);
        for (int32_t head = 0; head < heads; head++) {
            float *at = x + (size_t)head * head_size + 2 * i;
            float32x4x2_t pair = vld2q_f32(at), turned;
            turned.val[0] = vfmsq_f32(vmulq_f32(pair.val[0], c), pair.val[1], s);
            turned.val[1] = vfmaq_f32(vmulq_f32(pair.val[0], s), pair.val[1], c);
            vst2q_f32(at, turned);
        }
    }
}

void mk_neon_swiglu(const float *x, int32_t x_stride, int32_t panels, int32_t begin, int32_t end, float *y,
                    int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        for (int32_t i = 0; i < panels * MK_PANEL; i += 4) {
            const float *gate = in + i / MK_PANEL * 2 * MK_PANEL + i % MK_PANEL;
            vst1q_f32(out + i, vmulq_f32(mk_silu4(vld1q_f32(gate)), vld1q_f32(gate + MK_PANEL)));
        }
    }
}

void mk_neon_silu(float *x, size_t count) {
    for (size_t i = 0; i < count; i += 4) {
        int64_t remaining = (int64_t)(count - i);
        mk_store4(x + i, remaining, mk_silu4(mk_load4(x + i, remaining, 0)));
    }
}

void mk_neon_argmax_logsumexp(const float *x, int32_t count, int32_t *index, float *maximum, float *logsumexp) {
    float32x4_t maxima = vdupq_n_f32(-INFINITY);
    for (int32_t i = 0; i < count; i += 4) maxima = mk_larger4(mk_load4(x + i, count - i, -INFINITY), maxima);
    const float highest = vmaxvq_f32(maxima);

    float64x2_t sums[2] = {vdupq_n_f64(0), vdupq_n_f64(0)};
    int32_t first = -1;
    for (int32_t i = 0; i < count; i += 4) {
        for (int32_t j = i; first < 0 && j < mk_min_i32(count, i + 4); j++) {
            if (x[j] == highest) first = j;
        }
        // The padding's exponential is 0, but for a maximum of -infinity, which is its own normaliser.
        float32x4_t terms = mk_exp4(vsubq_f32(mk_load4(x + i, count - i, -INFINITY), vdupq_n_f32(highest)));
        sums[0] = vaddq_f64(sums[0], vcvt_f64_f32(vget_low_f32(terms)));
        sums[1] = vaddq_f64(sums[1], vcvt_high_f64_f32(terms));
    }
    // No element equals the maximum only where every element is NaN.
    *index = first < 0 ? 0 : first;
    *maximum = x[*index];
    *logsumexp = mk_logsumexp(x[*index], vaddvq_f64(vaddq_f64(sums[0], sums[1])));
}

#endif
