// Matrix products with AVX2 and FMA.
//
// int8: maddubs multiplies unsigned by signed bytes and adds pairs with saturation to int16, so an offset of 128 would
// overflow. Instead w x = |w| (x sgn w): vpsignb moves the weight's sign to the activation. With all integers in
// -127 ... 127 a pair sums to at most 2 * 127 * 127 = 32,258 < 32,767: nothing saturates, and the result is exact.
// (-128, which vpsignb cannot negate, occurs in neither operand.) pmaddwd with ones widens the pairs to int32; two pair sums would
// already exceed int16, so every one is widened at once.
#if defined(__x86_64__)

#include "avx2.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX2_BEGIN

enum { rows_i8 = 4, rows_f32 = 6, most_splits = 4, line = 64 };
enum { prefetch_distance = 2048 };  // bytes of W ahead of use, past what the hardware has in flight
enum { block_bytes = 64 << 10 };    // activations that stay in the second-level cache while W passes by

// Where a product goes: float results through the epilogue, or the integers themselves.
typedef struct {
    const mk_activations_i8 *x;
    const mk_weights_i8 *w;
    int32_t groups;
    int32_t planes;  // rows of x that make a row of y: 1, or 2 that stand in one tile
    float *y;
    int32_t y_stride;
    int32_t *sums;
    int32_t sums_stride;
    mk_epilogue epilogue;
} product_i8;

MK_INLINE void finish(__m256 product, float *y, const float *bias, __m256i lanes, const mk_epilogue *epilogue) {
    __m256 v = product;
    if (bias) v = _mm256_add_ps(v, _mm256_maskload_ps(bias, lanes));
    if (epilogue->accumulate) v = _mm256_add_ps(_mm256_maskload_ps(y, lanes), v);
    v = mk_clamp256(v, _mm256_set1_ps(epilogue->low), _mm256_set1_ps(epilogue->high));
    _mm256_maskstore_ps(y, lanes, v);
}

MK_INLINE __m256 scaled_i8(const product_i8 *p, int32_t row, int32_t n, __m256i sum) {
    __m256 scale = _mm256_mul_ps(_mm256_set1_ps(p->x->scales[row]), _mm256_loadu_ps(p->w->scales + n));
    return _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum));
}

// Outputs n ... n + 7 of one row.
MK_INLINE void store_i8(const product_i8 *p, int32_t row, int32_t n, __m256i sum) {
    if (n >= p->w->rows) return;
    __m256i lanes = mk_lanes8(p->w->rows - n);
    if (p->sums) {
        _mm256_maskstore_epi32(p->sums + (size_t)row * p->sums_stride + n, lanes, sum);
        return;
    }
    finish(scaled_i8(p, row, n, sum), p->y + (size_t)row * p->y_stride + n,
           p->epilogue.bias ? p->epilogue.bias + n : NULL, lanes, &p->epilogue);
}

// Rows `row` and row + 1 of x are the planes of one row of y. What y held comes before the bias.
MK_INLINE void store_planes_i8(const product_i8 *p, int32_t row, int32_t n, __m256i coarse, __m256i fine) {
    if (n >= p->w->rows) return;
    __m256i lanes = mk_lanes8(p->w->rows - n);
    float *y = p->y + (size_t)(row / 2) * p->y_stride + n;
    __m256 v = _mm256_add_ps(scaled_i8(p, row, n, coarse), scaled_i8(p, row + 1, n, fine));
    if (p->epilogue.accumulate) v = _mm256_add_ps(_mm256_maskload_ps(y, lanes), v);
    if (p->epilogue.bias) v = _mm256_add_ps(v, _mm256_maskload_ps(p->epilogue.bias + n, lanes));
    v = mk_clamp256(v, _mm256_set1_ps(p->epilogue.low), _mm256_set1_ps(p->epilogue.high));
    _mm256_maskstore_ps(y, lanes, v);
}

// sums += one group of four columns; x and w stand at that group.
MK_INLINE void group_i8(__m256i sums[rows_i8][2][most_splits], const int32_t split, const int8_t *x, size_t stride,
                        const int8_t *w, const int32_t rows) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i weights[2], sizes[2];
    _mm_prefetch((const char *)w + prefetch_distance, _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (int32_t half = 0; half < 2; half++) {
        weights[half] = _mm256_load_si256((const __m256i *)w + half);
        sizes[half] = _mm256_abs_epi8(weights[half]);
    }
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
        int32_t four;
        memcpy(&four, x + (size_t)r * stride, sizeof four);
        const __m256i value = _mm256_set1_epi32(four);
#pragma clang loop unroll(full)
        for (int32_t half = 0; half < 2; half++) {
            __m256i pairs = _mm256_maddubs_epi16(sizes[half], _mm256_sign_epi8(value, weights[half]));
            sums[r][half][split] = _mm256_add_epi32(sums[r][half][split], _mm256_madd_epi16(pairs, ones));
        }
    }
}

// One tile of one panel; rows and splits are compile-time constants in every instance.
MK_INLINE void tile_i8(const product_i8 *p, int32_t row, int32_t panel, const int32_t rows, const int32_t splits) {
    const size_t stride = (size_t)p->x->stride;
    const int8_t *x = p->x->values + (size_t)row * stride;
    const int8_t *w = p->w->data + (size_t)panel * (size_t)p->groups * line;
    __m256i sums[rows_i8][2][most_splits];
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int32_t s = 0; s < splits; s++) sums[r][0][s] = sums[r][1][s] = _mm256_setzero_si256();
    int32_t group = 0;
    for (; group + splits <= p->groups; group += splits, x += splits * MK_GROUP, w += splits * line) {
#pragma clang loop unroll(full)
        for (int32_t s = 0; s < splits; s++) group_i8(sums, s, x + s * MK_GROUP, stride, w + s * line, rows);
    }
    for (; group < p->groups; group++, x += MK_GROUP, w += line) group_i8(sums, 0, x, stride, w, rows);
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (int32_t half = 0; half < 2; half++) {
            const int32_t n = panel * MK_PANEL + half * 8;
#pragma clang loop unroll(full)
            for (int32_t s = 1; s < splits; s++) {
                sums[r][half][0] = _mm256_add_epi32(sums[r][half][0], sums[r][half][s]);
            }
            if (p->planes == 1) {
                store_i8(p, row + r, n, sums[r][half][0]);
            } else if (r % 2 == 1) {
                store_planes_i8(p, row + r - 1, n, sums[r - 1][half][0], sums[r][half][0]);
            }
        }
    }
}

static void tile_i8_1(const product_i8 *p, int32_t row, int32_t panel) { tile_i8(p, row, panel, 1, 4); }
static void tile_i8_2(const product_i8 *p, int32_t row, int32_t panel) { tile_i8(p, row, panel, 2, 2); }
static void tile_i8_3(const product_i8 *p, int32_t row, int32_t panel) { tile_i8(p, row, panel, 3, 1); }
static void tile_i8_4(const product_i8 *p, int32_t row, int32_t panel) { tile_i8(p, row, panel, 4, 1); }
static void (*const tiles_i8[rows_i8])(const product_i8 *, int32_t, int32_t) = {tile_i8_1, tile_i8_2, tile_i8_3,
                                                                               tile_i8_4};

static void multiply_i8(const product_i8 *p, int32_t m, int32_t panel_begin, int32_t panel_end) {
    int32_t block = mk_max_i32(block_bytes / p->x->stride / rows_i8, 1) * rows_i8;
    for (int32_t begin = 0; begin < m; begin += block) {
        int32_t end = mk_min_i32(m, begin + block);
        for (int32_t panel = panel_begin; panel < panel_end; panel++) {
            for (int32_t row = begin; row < end; row += rows_i8) {
                tiles_i8[mk_min_i32(rows_i8, end - row) - 1](p, row, panel);
            }
        }
    }
}

void mk_avx2_matmul_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                       int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_i8 p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = 1,
                    .y = y, .y_stride = y_stride, .epilogue = epilogue};
    multiply_i8(&p, m, panel_begin, panel_end);
}

// Tiles begin at multiples of four rows, so the planes of a row share one.
void mk_avx2_matmul_planes_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                              int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_i8 p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = 2,
                    .y = y, .y_stride = y_stride, .epilogue = epilogue};
    multiply_i8(&p, 2 * m, panel_begin, panel_end);
}

void mk_avx2_sums_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                     int32_t panel_end, int32_t *sums, int32_t sums_stride) {
    product_i8 p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = 1,
                    .sums = sums, .sums_stride = sums_stride};
    multiply_i8(&p, m, panel_begin, panel_end);
}

// ---- float32 ---------------------------------------------------------------------------------------------------

typedef struct {
    const float *x;
    size_t x_stride;
    const mk_weights_f32 *w;
    float *y;
    size_t y_stride;
    mk_epilogue epilogue;
} product_f32;

// `halves` half panels from `half`; rows * halves accumulators, one an output.
MK_INLINE void tile_f32(const product_f32 *p, int32_t row, int32_t half, const int32_t rows, const int32_t halves) {
    const size_t columns = (size_t)p->w->columns;
    const float *x = p->x + (size_t)row * p->x_stride;
    const float *w[8];
    __m256 sums[rows_f32][8];
#pragma clang loop unroll(full)
    for (int32_t h = 0; h < halves; h++) {
        w[h] = p->w->data + (size_t)((half + h) / 2) * columns * MK_PANEL + (size_t)((half + h) % 2) * 8;
#pragma clang loop unroll(full)
        for (int32_t r = 0; r < rows; r++) sums[r][h] = _mm256_setzero_ps();
    }
    for (size_t k = 0; k < columns; k++) {
        __m256 weights[8];
#pragma clang loop unroll(full)
        for (int32_t h = 0; h < halves; h++) weights[h] = _mm256_load_ps(w[h] + k * MK_PANEL);
#pragma clang loop unroll(full)
        for (int32_t r = 0; r < rows; r++) {
            __m256 value = _mm256_set1_ps(x[(size_t)r * p->x_stride + k]);
#pragma clang loop unroll(full)
            for (int32_t h = 0; h < halves; h++) sums[r][h] = _mm256_fmadd_ps(value, weights[h], sums[r][h]);
        }
    }
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (int32_t h = 0; h < halves; h++) {
            int32_t n = (half + h) * 8;
            if (n >= p->w->rows) continue;
            finish(sums[r][h], p->y + (size_t)(row + r) * p->y_stride + n, p->epilogue.bias ? p->epilogue.bias + n : NULL,
                   mk_lanes8(p->w->rows - n), &p->epilogue);
        }
    }
}

#define TILE_F32(rows)                                                                                                 \
    static void tile_f32_##rows(const product_f32 *p, int32_t row, int32_t half) { tile_f32(p, row, half, rows, 2); }
TILE_F32(1) TILE_F32(2) TILE_F32(3) TILE_F32(4) TILE_F32(5) TILE_F32(6)
static void (*const tiles_f32[rows_f32])(const product_f32 *, int32_t, int32_t) = {
    tile_f32_1, tile_f32_2, tile_f32_3, tile_f32_4, tile_f32_5, tile_f32_6};

// A row alone: four panels at once, since k may not be split.
static void tile_f32_alone(const product_f32 *p, int32_t half) { tile_f32(p, 0, half, 1, 8); }

void mk_avx2_matmul_f32(const float *x, int32_t x_stride, int32_t m, const mk_weights_f32 *w, int32_t panel_begin,
                        int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_f32 p = {x, (size_t)x_stride, w, y, (size_t)y_stride, epilogue};
    int32_t panel = panel_begin;
    for (; m == 1 && panel + 4 <= panel_end; panel += 4) tile_f32_alone(&p, 2 * panel);
    for (; panel < panel_end; panel++) {
        for (int32_t row = 0; row < m; row += rows_f32) {
            tiles_f32[mk_min_i32(rows_f32, m - row) - 1](&p, row, 2 * panel);
        }
    }
}

MK_AVX2_END

#endif
