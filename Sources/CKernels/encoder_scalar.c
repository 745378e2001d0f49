// Row kernels of a transformer encoder, scalar: the reference.
#include "normal.h"
#include "paths.h"
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

void mk_scalar_layer_norm(const float *x, int32_t x_stride, const float *weight, const float *bias, int32_t columns,
                          float epsilon, int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        double sum = 0, squares = 0;
        for (int32_t k = 0; k < columns; k++) sum += in[k];
        float mean = (float)(sum / columns);
        for (int32_t k = 0; k < columns; k++) {
            float centred = in[k] - mean;
            squares += (double)centred * centred;
        }
        float inverse = 1.0f / sqrtf((float)(squares / columns) + epsilon);
        for (int32_t k = 0; k < columns; k++) out[k] = ((in[k] - mean) * inverse) * weight[k] + bias[k];
    }
}

static float gelu(float x) {
    float a = fabsf(x), t = 1.0f / (1.0f + MK_NORMAL_P * a);
    float p = MK_NORMAL_C8;
    p = p * t + MK_NORMAL_C7;
    p = p * t + MK_NORMAL_C6;
    p = p * t + MK_NORMAL_C5;
    p = p * t + MK_NORMAL_C4;
    p = p * t + MK_NORMAL_C3;
    p = p * t + MK_NORMAL_C2;
    p = p * t + MK_NORMAL_C1;
    p = p * t + MK_NORMAL_C0;
    float tail = x * (p * t * mk_exp_nonpositive((-0.5f * a) * a));
    return x < 0 ? tail : x - tail;
}

void mk_scalar_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = gelu(x[i]);
}

void mk_scalar_quick_gelu(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float z = mk_exp_nonpositive(-fabsf(MK_QUICK_GELU * x[i]));
        x[i] = (x[i] < 0 ? x[i] * z : x[i]) / (1.0f + z);
    }
}
