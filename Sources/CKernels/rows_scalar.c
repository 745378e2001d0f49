// Everything that works on rows of activations, scalar: quantisation, norms, rotary embedding, attention, activations.
// Reductions whose terms are rounded float32 are summed in double, so that the reference is nearer to the truth than
// what it judges.
#include "paths.h"
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

static void quantize_row(const float *x, int32_t row, float inverse, mk_activations_i8 *out) {
    int8_t *values = out->values + (size_t)row * out->stride;
    int32_t sum = 0;
    for (int32_t k = 0; k < out->columns; k++) {
        values[k] = mk_round_i8(x[k] * inverse);
        sum += values[k];
    }
    memset(values + out->columns, 0, (size_t)(out->stride - out->columns));
    out->sums[row] = sum;
}

void mk_scalar_quantize_rows(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        mk_scaling scaling = mk_scaling_of(mk_max_abs(source, (size_t)out->columns));
        out->scales[row] = scaling.scale;
        quantize_row(source, row, scaling.inverse, out);
    }
}

void mk_scalar_quantize_planes(const float *x, int32_t x_stride, int32_t begin, int32_t end, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        const float *source = x + (size_t)row * x_stride;
        const mk_scaling scaling = mk_scaling_of(mk_max_abs(source, (size_t)out->columns));
        const float unscale = 1.0f / scaling.scale;
        quantize_row(source, 2 * row, scaling.inverse, out);
        int8_t *coarse = out->values + (size_t)2 * row * out->stride, *fine = coarse + out->stride;
        int32_t sum = 0;
        for (int32_t k = 0; k < out->columns; k++) {
            fine[k] = mk_round_i8((source[k] * unscale - (float)coarse[k]) * MK_FINE_STEPS);
            sum += fine[k];
        }
        memset(fine + out->columns, 0, (size_t)(out->stride - out->columns));
        out->scales[2 * row] = scaling.scale;
        out->scales[2 * row + 1] = scaling.scale / MK_FINE_STEPS;
        out->sums[2 * row + 1] = sum;
    }
}

void mk_scalar_quantize_rows_with_scale(const float *x, int32_t x_stride, int32_t begin, int32_t end, float scale,
                                        float inverse_scale, mk_activations_i8 *out) {
    for (int32_t row = begin; row < end; row++) {
        out->scales[row] = scale;
        quantize_row(x + (size_t)row * x_stride, row, inverse_scale, out);
    }
}

float mk_scalar_max_abs(const float *x, size_t count) { return mk_max_abs(x, count); }

void mk_scalar_rms_norm(const float *x, int32_t x_stride, const float *weight, int32_t columns, float epsilon,
                        int32_t begin, int32_t end, float *y, int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        const float *in = x + (size_t)row * x_stride;
        float *out = y + (size_t)row * y_stride;
        double squares = 0;
        for (int32_t k = 0; k < columns; k++) squares += (double)in[k] * in[k];
        float inverse = 1.0f / sqrtf((float)(squares / columns) + epsilon);
        for (int32_t k = 0; k < columns; k++) out[k] = (in[k] * inverse) * weight[k];
    }
}

void mk_scalar_rope(float *x, int32_t heads, int32_t head_size, const float *cosines, const float *sines) {
    for (int32_t head = 0; head < heads; head++) {
        for (int32_t i = 0; i < head_size / 2; i++) {
            float *pair = x + (size_t)head * head_size + 2 * i;
            float even = pair[0], odd = pair[1];
            pair[0] = even * cosines[i] - odd * sines[i];
            pair[1] = even * sines[i] + odd * cosines[i];
        }
    }
}

// softmax(scale * q Kᵀ) V for one head of one row; key and value of position t stand at t * stride.
static void attend(const float *query, const float *keys, const float *values, int32_t length, int32_t stride,
                   int32_t head_size, float scale, float *scores, float *out) {
    float maximum = -INFINITY;
    for (int32_t t = 0; t < length; t++) {
        float dot = 0;
        for (int32_t d = 0; d < head_size; d++) dot += query[d] * keys[(size_t)t * stride + d];
        scores[t] = dot * scale;
        if (scores[t] > maximum) maximum = scores[t];
    }
    double sum = 0;
    for (int32_t t = 0; t < length; t++) {
        scores[t] = mk_exp_nonpositive(scores[t] - maximum);
        sum += scores[t];
    }
    float inverse = 1.0f / (float)sum;
    for (int32_t d = 0; d < head_size; d++) {
        float mixed = 0;
        for (int32_t t = 0; t < length; t++) mixed += scores[t] * values[(size_t)t * stride + d];
        out[d] = mixed * inverse;
    }
}

void mk_scalar_attention(const mk_attention *job, int32_t begin, int32_t end) {
    int32_t size = job->head_size, stride = job->position_stride, sharing = job->heads / job->kv_heads;
    for (int32_t row = begin; row < end; row++) {
        const mk_attention_row *past = &job->rows[row];
        for (int32_t head = 0; head < job->heads; head++) {
            int32_t offset = head / sharing * size;
            attend(job->queries + (size_t)row * job->query_stride + head * size, past->keys + offset,
                   past->values + offset, past->length, stride, size, job->scale, job->scores,
                   job->out + (size_t)row * job->out_stride + head * size);
        }
    }
}

void mk_scalar_swiglu(const float *x, int32_t x_stride, int32_t panels, int32_t begin, int32_t end, float *y,
                      int32_t y_stride) {
    for (int32_t row = begin; row < end; row++) {
        for (int32_t panel = 0; panel < panels; panel++) {
            const float *gate = x + (size_t)row * x_stride + 2 * panel * MK_PANEL, *up = gate + MK_PANEL;
            float *out = y + (size_t)row * y_stride + panel * MK_PANEL;
            for (int32_t i = 0; i < MK_PANEL; i++) out[i] = mk_silu(gate[i]) * up[i];
        }
    }
}

void mk_scalar_silu(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = mk_silu(x[i]);
}

void mk_scalar_argmax_logsumexp(const float *x, int32_t count, int32_t *index, float *maximum, float *logsumexp) {
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        if (x[i] > x[best] || (x[best] != x[best] && x[i] == x[i])) best = i;
    }
    double sum = 0;
    for (int32_t i = 0; i < count; i++) sum += (double)mk_exp_nonpositive(x[i] - x[best]);
    *index = best;
    *maximum = x[best];
    *logsumexp = mk_logsumexp(x[best], sum);
}
