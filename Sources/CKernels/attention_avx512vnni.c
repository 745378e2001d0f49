// Softmax attention with AVX-512, in blocks of 64 positions with a running maximum (as in arXiv 2205.14135): the keys and
// values of a block are read from the second-level cache once and serve all heads that share them.
//
// A head of a row goes through its positions in order, block by block from position 0, with its own maximum, sum and
// output: its bytes depend on its query and past alone, not on other heads, rows or what stands beyond its length.
#if defined(__x86_64__)

#include "avx512.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

enum { block = 64, most_heads = 8 };

// One head of one row: softmax(scale q Kᵀ) V so far is out / sum, with exponentials relative to maximum. The last block
// divides.
typedef struct {
    const float *query;
    float *out;
    float maximum, sum;
} head;

// Where the positions of a block stand: key and value of its position t at t * stride.
typedef struct {
    const float *keys, *values;
    size_t stride;
    int32_t length, head_size;
    float scale;
    bool is_first, is_last;
} past;

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

// Scaled scores of positions t ... t + 15; past the end the last position is read again and its score is -infinity.
MK_INLINE __m512 scores_at(const past *p, const float *query, int32_t t) {
    __m512 dots[16];
    const float *keys[16];
#pragma clang loop unroll(full)
    for (int32_t i = 0; i < 16; i++) {
        keys[i] = p->keys + (size_t)mk_min_i32(t + i, p->length - 1) * p->stride;
        dots[i] = _mm512_setzero_ps();
    }
    for (int32_t d = 0; d < p->head_size; d += 16) {
        const __m512 q = _mm512_loadu_ps(query + d);
#pragma clang loop unroll(full)
        for (int32_t i = 0; i < 16; i++) dots[i] = _mm512_fmadd_ps(q, _mm512_loadu_ps(keys[i] + d), dots[i]);
    }
    __m512 scaled = _mm512_mul_ps(sums_of_16(dots), _mm512_set1_ps(p->scale));
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), mk_lanes(p->length - t), scaled);
}

// out[d] = (out[d] * carry + sum over t of weights[t] v[t][d]) * factor, for `chunks` vectors from d; even and odd
// positions apart. The first block finds nothing in out.
MK_INLINE void mix(const past *p, const float *weights, float *out, __m512 carry, __m512 factor, int32_t d,
                   const int32_t chunks) {
    __m512 even[4], odd[4];
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < chunks; c++) {
        even[c] = p->is_first ? _mm512_setzero_ps() : _mm512_mul_ps(_mm512_loadu_ps(out + d + 16 * c), carry);
        odd[c] = _mm512_setzero_ps();
    }
    const float *value = p->values + d;
    int32_t t = 0;
    for (; t + 2 <= p->length; t += 2, value += 2 * p->stride) {
        const __m512 first = _mm512_set1_ps(weights[t]), second = _mm512_set1_ps(weights[t + 1]);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < chunks; c++) {
            even[c] = _mm512_fmadd_ps(first, _mm512_loadu_ps(value + 16 * c), even[c]);
            odd[c] = _mm512_fmadd_ps(second, _mm512_loadu_ps(value + p->stride + 16 * c), odd[c]);
        }
    }
    if (t < p->length) {
        const __m512 last = _mm512_set1_ps(weights[t]);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < chunks; c++) even[c] = _mm512_fmadd_ps(last, _mm512_loadu_ps(value + 16 * c), even[c]);
    }
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < chunks; c++) {
        _mm512_storeu_ps(out + d + 16 * c, _mm512_mul_ps(_mm512_add_ps(even[c], odd[c]), factor));
    }
}

// Takes one block of positions into the head's running softmax.
static void take_block(head *h, const past *p) {
    float weights[block];
    __m512 maxima = _mm512_set1_ps(h->maximum);
    for (int32_t t = 0; t < p->length; t += 16) {
        __m512 scores = scores_at(p, h->query, t);
        _mm512_storeu_ps(weights + t, scores);
        maxima = _mm512_max_ps(maxima, scores);
    }
    const __m512 maximum = _mm512_set1_ps(_mm512_reduce_max_ps(maxima));
    const __m512 carry = mk_exp512(_mm512_sub_ps(_mm512_set1_ps(h->maximum), maximum));
    __m512 sums = _mm512_setzero_ps();
    for (int32_t t = 0; t < p->length; t += 16) {
        __m512 weight = mk_exp512(_mm512_sub_ps(_mm512_loadu_ps(weights + t), maximum));
        _mm512_storeu_ps(weights + t, weight);
        sums = _mm512_add_ps(sums, weight);
    }
    h->sum = h->sum * _mm512_cvtss_f32(carry) + mk_sum512(sums);
    h->maximum = _mm512_cvtss_f32(maximum);
    const __m512 factor = _mm512_set1_ps(p->is_last ? 1.0f / h->sum : 1.0f);
    int32_t d = 0;
    for (; d + 64 <= p->head_size; d += 64) mix(p, weights, h->out, carry, factor, d, 4);
    for (; d < p->head_size; d += 16) mix(p, weights, h->out, carry, factor, d, 1);
}

// `count` heads of one row that share the keys and values of `whole`.
static void attend(head *heads, int32_t count, const past *whole) {
    for (int32_t begin = 0; begin < whole->length; begin += block) {
        past part = *whole;
        part.keys += (size_t)begin * whole->stride;
        part.values += (size_t)begin * whole->stride;
        part.length = mk_min_i32(block, whole->length - begin);
        part.is_first = begin == 0;
        part.is_last = begin + block >= whole->length;
        for (int32_t i = 0; i < count; i++) take_block(&heads[i], &part);
    }
}

void mk_avx512vnni_attention(const mk_attention *job, int32_t begin, int32_t end) {
    const int32_t size = job->head_size, sharing = job->heads / job->kv_heads;
    for (int32_t row = begin; row < end; row++) {
        const float *queries = job->queries + (size_t)row * job->query_stride;
        float *out = job->out + (size_t)row * job->out_stride;
        for (int32_t first = 0; first < job->heads;) {
            const int32_t kv = first / sharing, count = mk_min_i32(most_heads, (kv + 1) * sharing - first);
            const past whole = {.keys = job->rows[row].keys + kv * size,
                                .values = job->rows[row].values + kv * size,
                                .stride = (size_t)job->position_stride,
                                .length = job->rows[row].length,
                                .head_size = size,
                                .scale = job->scale};
            head heads[most_heads];
            for (int32_t i = 0; i < count; i++) {
                const size_t at = (size_t)(first + i) * size;
                heads[i] = (head){.query = queries + at, .out = out + at, .maximum = -INFINITY};
            }
            attend(heads, count, &whole);
            first += count;
        }
    }
}

MK_AVX512_END

#endif
