// Softmax attention with AVX2. One head of one row at a time, in three passes over its positions: eight dot products at once,
// the exponentials, the mix of values. Positions are taken in order from position 0, so a row's bytes depend on its own
// query and past alone. Heads that share keys follow each other, so that these stay in the nearest caches.
#if defined(__x86_64__)

#include "avx2.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX2_BEGIN

typedef struct {
    const float *query, *keys, *values;
    size_t stride;  // floats from one position to the next
    int32_t length, head_size;
    float scale;
    float *scores, *out;
} head;

// Eight vectors -> the vector of their sums; each folds its lanes as (0+1)+(2+3), then the two halves.
MK_INLINE __m256 sums_of_8(const __m256 v[8]) {
    __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

// Scaled scores of eight positions from t; past the end the last position is read again and its score is -infinity.
MK_INLINE __m256 scores_at(const head *h, int32_t t) {
    __m256 dots[8];
    const float *keys[8];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < 8; i++) {
        keys[i] = h->keys + (size_t)mk_min_i32(t + i, h->length - 1) * h->stride;
        dots[i] = _mm256_setzero_ps();
    }
    for (int32_t d = 0; d < h->head_size; d += 8) {
        __m256 query = _mm256_loadu_ps(h->query + d);
#pragma clang loop unroll(full)
        for (int32_t i = 0; i < 8; i++) dots[i] = _mm256_fmadd_ps(query, _mm256_loadu_ps(keys[i] + d), dots[i]);
    }
    __m256 scaled = _mm256_mul_ps(sums_of_8(dots), _mm256_set1_ps(h->scale));
    __m256 present = _mm256_castsi256_ps(mk_lanes8(h->length - t));
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), scaled, present);
}

// out[d] = inverse * sum over t of p[t] v[t][d] for `chunks` vectors from d; even and odd positions apart.
MK_INLINE void mix(const head *h, int32_t d, const int32_t chunks, __m256 inverse) {
    __m256 even[4], odd[4];
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < chunks; c++) even[c] = odd[c] = _mm256_setzero_ps();
    const float *value = h->values + d;
    int32_t t = 0;
    for (; t + 2 <= h->length; t += 2, value += 2 * h->stride) {
        __m256 first = _mm256_set1_ps(h->scores[t]), second = _mm256_set1_ps(h->scores[t + 1]);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < chunks; c++) {
            even[c] = _mm256_fmadd_ps(first, _mm256_loadu_ps(value + 8 * c), even[c]);
            odd[c] = _mm256_fmadd_ps(second, _mm256_loadu_ps(value + h->stride + 8 * c), odd[c]);
        }
    }
    if (t < h->length) {
        __m256 last = _mm256_set1_ps(h->scores[t]);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < chunks; c++) even[c] = _mm256_fmadd_ps(last, _mm256_loadu_ps(value + 8 * c), even[c]);
    }
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < chunks; c++) {
        _mm256_storeu_ps(h->out + d + 8 * c, _mm256_mul_ps(_mm256_add_ps(even[c], odd[c]), inverse));
    }
}

static void attend(const head *h) {
    __m256 maxima = _mm256_set1_ps(-INFINITY);
    for (int32_t t = 0; t < h->length; t += 8) {
        __m256 scores = scores_at(h, t);
        _mm256_storeu_ps(h->scores + t, scores);
        maxima = _mm256_max_ps(maxima, scores);
    }
    const __m256 maximum = _mm256_set1_ps(mk_maximum256(maxima));
    __m256 sums = _mm256_setzero_ps();
    for (int32_t t = 0; t < h->length; t += 8) {
        __m256 p = mk_exp256(_mm256_sub_ps(_mm256_loadu_ps(h->scores + t), maximum));
        _mm256_storeu_ps(h->scores + t, p);
        sums = _mm256_add_ps(sums, p);
    }
    const __m256 inverse = _mm256_set1_ps(1.0f / mk_sum256(sums));
    int32_t d = 0;
    for (; d + 32 <= h->head_size; d += 32) mix(h, d, 4, inverse);
    for (; d < h->head_size; d += 16) mix(h, d, 2, inverse);
}

void mk_avx2_attention(const mk_attention *job, int32_t begin, int32_t end) {
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

MK_AVX2_END

#endif
