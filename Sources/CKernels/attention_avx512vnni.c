// Softmax attention with AVX-512. One head of one row at a time, in three passes over its positions: sixteen dot products
// at once, the exponentials, the mix of values. Positions are taken in order in groups that start at position 0,
// so a row's bytes depend on its own query and past alone. Heads that share keys follow each other: the keys stay in the
// first-level cache.
#if defined(__x86_64__)

#include "avx512.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

typedef struct {
    const float *query, *keys, *values;
    size_t stride;  // floats from one position to the next
    int32_t length, head_size;
    float scale;
    float *scores, *out;
} head;

// Sixteen vectors -> the vector of their sums. Each sum folds its lanes in the same order: (0+2)+(1+3) within four lanes, then
// the first with the second four and the third with the fourth, then those.
MK_INLINE __m512 sums_of_16(const __m512 v[16]) {
    __m512 a[8], b[4];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < 8; i++) {
        a[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    }
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < 4; i++) {
        __m512d even = _mm512_castps_pd(a[2 * i]), odd = _mm512_castps_pd(a[2 * i + 1]);
        b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(even, odd)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd)));
    }
    __m512 c0 = _mm512_add_ps(_mm512_shuffle_f32x4(b[0], b[1], 0x88), _mm512_shuffle_f32x4(b[0], b[1], 0xdd));
    __m512 c1 = _mm512_add_ps(_mm512_shuffle_f32x4(b[2], b[3], 0x88), _mm512_shuffle_f32x4(b[2], b[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(c0, c1, 0x88), _mm512_shuffle_f32x4(c0, c1, 0xdd));
}

// Scaled scores of sixteen positions from t; past the end the last position is read again and its score is -infinity.
MK_INLINE __m512 scores_at(const head *h, int32_t t) {
    __m512 dots[16];
    const float *keys[16];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < 16; i++) {
        keys[i] = h->keys + (size_t)mk_min_i32(t + i, h->length - 1) * h->stride;
        dots[i] = _mm512_setzero_ps();
    }
    for (int32_t d = 0; d < h->head_size; d += 16) {
        __m512 query = _mm512_loadu_ps(h->query + d);
#pragma clang loop unroll(full)
        for (int32_t i = 0; i < 16; i++) dots[i] = _mm512_fmadd_ps(query, _mm512_loadu_ps(keys[i] + d), dots[i]);
    }
    __m512 scaled = _mm512_mul_ps(sums_of_16(dots), _mm512_set1_ps(h->scale));
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), mk_lanes(h->length - t), scaled);
}

// out[d] = inverse * sum over t of p[t] v[t][d] for `chunks` vectors from d; even and odd positions apart.
MK_INLINE void mix(const head *h, int32_t d, const int32_t chunks, __m512 inverse) {
    __m512 even[4], odd[4];
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < chunks; c++) even[c] = odd[c] = _mm512_setzero_ps();
    const float *value = h->values + d;
    int32_t t = 0;
    for (; t + 2 <= h->length; t += 2, value += 2 * h->stride) {
        __m512 first = _mm512_set1_ps(h->scores[t]), second = _mm512_set1_ps(h->scores[t + 1]);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < chunks; c++) {
            even[c] = _mm512_fmadd_ps(first, _mm512_loadu_ps(value + 16 * c), even[c]);
            odd[c] = _mm512_fmadd_ps(second, _mm512_loadu_ps(value + h->stride + 16 * c), odd[c]);
        }
    }
    if (t < h->length) {
        __m512 last = _mm512_set1_ps(h->scores[t]);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < chunks; c++) even[c] = _mm512_fmadd_ps(last, _mm512_loadu_ps(value + 16 * c), even[c]);
    }
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < chunks; c++) {
        _mm512_storeu_ps(h->out + d + 16 * c, _mm512_mul_ps(_mm512_add_ps(even[c], odd[c]), inverse));
    }
}

static void attend(const head *h) {
    __m512 maxima = _mm512_set1_ps(-INFINITY);
    for (int32_t t = 0; t < h->length; t += 16) {
        __m512 scores = scores_at(h, t);
        _mm512_storeu_ps(h->scores + t, scores);
        maxima = _mm512_max_ps(maxima, scores);
    }
    const __m512 maximum = _mm512_set1_ps(_mm512_reduce_max_ps(maxima));
    __m512 sums = _mm512_setzero_ps();
    for (int32_t t = 0; t < h->length; t += 16) {
        __m512 p = mk_exp512(_mm512_sub_ps(_mm512_loadu_ps(h->scores + t), maximum));
        _mm512_storeu_ps(h->scores + t, p);
        sums = _mm512_add_ps(sums, p);
    }
    const __m512 inverse = _mm512_set1_ps(1.0f / mk_sum512(sums));
    int32_t d = 0;
    for (; d + 64 <= h->head_size; d += 64) mix(h, d, 4, inverse);
    for (; d < h->head_size; d += 16) mix(h, d, 1, inverse);
}

void mk_avx512vnni_attention(const mk_attention *job, int32_t begin, int32_t end) {
    int32_t size = job->head_size, sharing = job->heads / job->kv_heads;
    for (int32_t row = begin; row < end; row++) {
        const mk_attention_row *past = &job->rows[row];
        for (int32_t i = 0; i < job->heads; i++) {
            int32_t offset = i / sharing * size;
            head h = {.query = job->queries + (size_t)row * job->query_stride + i * size,
                      .keys = past->keys + offset,
                      .values = past->values + offset,
                      .stride = (size_t)job->kv_heads * size,
                      .length = past->length,
                      .head_size = size,
                      .scale = job->scale,
                      .scores = job->scores,
                      .out = job->out + (size_t)row * job->out_stride + i * size};
            attend(&h);
        }
    }
}

MK_AVX512_END

#endif
