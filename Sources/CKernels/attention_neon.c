// Softmax attention with NEON. One head of one row at a time, in three passes over its positions: four dot products at once,
// the exponentials, the mix of values. Positions are taken in order from position 0, so a row's bytes depend on its own
// query and past alone. Heads that share keys follow each other, so that these stay in the nearest caches.
#if defined(__aarch64__)

#include "neon.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

typedef struct {
    const float *query, *keys, *values;
    size_t stride;  // floats from one position to the next
    int32_t length, head_size;
    float scale;
    float *scores, *out;
} head;

// Scaled scores of four positions from t; past the end the last position is read again and its score is -infinity.
MK_INLINE float32x4_t scores_at(const head *h, int32_t t) {
    float32x4_t dots[4];
    const float *keys[4];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < 4; i++) {
        keys[i] = h->keys + (size_t)mk_min_i32(t + i, h->length - 1) * h->stride;
        dots[i] = vdupq_n_f32(0);
    }
    for (int32_t d = 0; d < h->head_size; d += 4) {
        float32x4_t query = vld1q_f32(h->query + d);
#pragma clang loop unroll(full)
        for (int32_t i = 0; i < 4; i++) dots[i] = vfmaq_f32(dots[i], query, vld1q_f32(keys[i] + d));
    }
    float32x4_t sums = vpaddq_f32(vpaddq_f32(dots[0], dots[1]), vpaddq_f32(dots[2], dots[3]));
    static const int32_t places[4] = {0, 1, 2, 3};
    uint32x4_t present = vcltq_s32(vld1q_s32(places), vdupq_n_s32(h->length - t));
    return vbslq_f32(present, vmulq_n_f32(sums, h->scale), vdupq_n_f32(-INFINITY));
}

// out[d ..< d + 16] = inverse * sum over t of p[t] v[t][d]; even and odd positions apart.
static void mix(const head *h, int32_t d, float inverse) {
    float32x4_t even[4], odd[4];
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < 4; c++) even[c] = odd[c] = vdupq_n_f32(0);
    const float *value = h->values + d;
    int32_t t = 0;
    for (; t + 2 <= h->length; t += 2, value += 2 * h->stride) {
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < 4; c++) {
            even[c] = vfmaq_f32(even[c], vld1q_f32(value + 4 * c), vdupq_n_f32(h->scores[t]));
            odd[c] = vfmaq_f32(odd[c], vld1q_f32(value + h->stride + 4 * c), vdupq_n_f32(h->scores[t + 1]));
        }
    }
    if (t < h->length) {
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < 4; c++) {
            even[c] = vfmaq_f32(even[c], vld1q_f32(value + 4 * c), vdupq_n_f32(h->scores[t]));
        }
    }
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < 4; c++) vst1q_f32(h->out + d + 4 * c, vmulq_n_f32(vaddq_f32(even[c], odd[c]), inverse));
}

static void attend(const head *h) {
    float32x4_t maxima = vdupq_n_f32(-INFINITY);
    for (int32_t t = 0; t < h->length; t += 4) {
        float32x4_t scores = scores_at(h, t);
        vst1q_f32(h->scores + t, scores);
        maxima = vmaxq_f32(maxima, scores);
    }
    const float32x4_t maximum = vdupq_n_f32(vmaxvq_f32(maxima));
    float32x4_t sums = vdupq_n_f32(0);
    for (int32_t t = 0; t < h->length; t += 4) {
        float32x4_t p = mk_exp4(vsubq_f32(vld1q_f32(h->scores + t), maximum));
        vst1q_f32(h->scores + t, p);
        sums = vaddq_f32(sums, p);
    }
    for (int32_t d = 0; d < h->head_size; d += 16) mix(h, d, 1.0f / mk_sum4(sums));
}

void mk_neon_attention(const mk_attention *job, int32_t begin, int32_t end) {
    int32_t size = job->head_size, sharing = job->heads / job->kv_heads;
    for (int32_t row = begin; row < end; row++) {
        const mk_attention_row *past = &job->rows[row];
        for (int32_t i = 0; i < job->heads; i++) {
            int32_t offset = i / sharing * size;
            head h = {.query = job->queries + (size_t)row * job->query_stride + i * size,
                      .keys = past->keys + offset,
                      .values = past->values + offset,
                      .stride = (size_t)job->position_stride,
                      .length = past->length,
                      .head_size = size,
                      .scale = job->scale,
                      .scores = job->scores,
                      .out = job->out + (size_t)row * job->out_stride + i * size};
            attend(&h);
        }
    }
}

#endif
