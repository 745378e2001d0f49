// Matrix products with AVX-512: vpdpbusd for int8, fused multiply-add for float32.
//
// vpdpbusd multiplies unsigned by signed bytes, four at a time, and adds the four products to an int32 lane without
// saturation. The weights become unsigned by adding 128 (XOR 0x80), so a lane holds sum((w + 128) x) = sum(w x) +
// 128 sum(x), and `sums` of the activations takes the second term away. 255 * 127 * K stays below 2^31 for K <= 66,000;
// beyond, two's complement would still come out right after the subtraction.
//
// A tile is `rows` x `panels` accumulators in registers. Integer sums may be split over further accumulators
// along k where the tile alone would wait for the adder's latency; float32 keeps one accumulator an output.
#if defined(__x86_64__)

#include "avx512.h"
#include "paths.h"

#pragma STDC FP_CONTRACT OFF

MK_AVX512_BEGIN

enum { tile_rows = 8, tile_panels = 3, most_splits = 8, line = 64 };
enum { prefetch_distance = 2048 };      // bytes of W ahead of use, past what the hardware has in flight
enum { block_bytes = 256 << 10 };       // activations that stay in the second-level cache while W passes by

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

MK_INLINE void finish(__m512 product, float *y, const float *bias, __mmask16 lanes, const mk_epilogue *epilogue) {
    __m512 v = product;
    if (bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, bias));
    if (epilogue->accumulate) v = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), v);
    v = mk_clamp512(v, _mm512_set1_ps(epilogue->low), _mm512_set1_ps(epilogue->high));
    _mm512_mask_storeu_ps(y, lanes, v);
}

// Takes the weights' offset away.
MK_INLINE __m512i exact_i8(const product_i8 *p, int32_t row, __m512i sum) {
    return _mm512_sub_epi32(sum, _mm512_set1_epi32((int32_t)((uint32_t)p->x->sums[row] << 7)));
}

MK_INLINE __m512 scaled_i8(const product_i8 *p, int32_t row, int32_t n, __m512i sum) {
    __m512 scale = _mm512_mul_ps(_mm512_set1_ps(p->x->scales[row]), _mm512_loadu_ps(p->w->scales + n));
    return _mm512_mul_ps(scale, _mm512_cvtepi32_ps(exact_i8(p, row, sum)));
}

MK_INLINE void store_i8(const product_i8 *p, int32_t row, int32_t panel, __m512i sum) {
    int32_t n = panel * MK_PANEL;
    __mmask16 lanes = mk_lanes(p->w->rows - n);
    if (p->sums) {
        _mm512_mask_storeu_epi32(p->sums + (size_t)row * p->sums_stride + n, lanes, exact_i8(p, row, sum));
        return;
    }
    finish(scaled_i8(p, row, n, sum), p->y + (size_t)row * p->y_stride + n,
           p->epilogue.bias ? p->epilogue.bias + n : NULL, lanes, &p->epilogue);
}

// Rows `row` and row + 1 of x are the planes of one row of y. What y held comes before the bias.
MK_INLINE void store_planes_i8(const product_i8 *p, int32_t row, int32_t panel, __m512i coarse, __m512i fine) {
    int32_t n = panel * MK_PANEL;
    __mmask16 lanes = mk_lanes(p->w->rows - n);
    float *y = p->y + (size_t)(row / 2) * p->y_stride + n;
    __m512 v = _mm512_add_ps(scaled_i8(p, row, n, coarse), scaled_i8(p, row + 1, n, fine));
    if (p->epilogue.accumulate) v = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), v);
    if (p->epilogue.bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, p->epilogue.bias + n));
    v = mk_clamp512(v, _mm512_set1_ps(p->epilogue.low), _mm512_set1_ps(p->epilogue.high));
    _mm512_mask_storeu_ps(y, lanes, v);
}

// sums += one group of four columns, for every row and panel of the tile; x and w stand at that group.
MK_INLINE void group_i8(__m512i sums[tile_rows][tile_panels][most_splits], const int32_t split, const int8_t *x,
                        size_t stride, const int8_t *w, size_t panel_bytes, const int32_t rows, const int32_t panels) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i weights[tile_panels];
#pragma clang loop unroll(full)
    for (int32_t c = 0; c < panels; c++) {
        const int8_t *source = w + (size_t)c * panel_bytes;
        _mm_prefetch((const char *)source + prefetch_distance, _MM_HINT_T0);
        weights[c] = _mm512_xor_si512(_mm512_load_si512(source), flip);
    }
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
        int32_t four;
        memcpy(&four, x + (size_t)r * stride, sizeof four);
        const __m512i value = _mm512_set1_epi32(four);
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < panels; c++) {
            sums[r][c][split] = _mm512_dpbusd_epi32(sums[r][c][split], weights[c], value);
        }
    }
}

// One tile; rows, panels and splits are compile-time constants in every instance.
MK_INLINE void tile_i8(const product_i8 *p, int32_t row, int32_t panel, const int32_t rows, const int32_t panels,
                       const int32_t splits) {
    const size_t stride = (size_t)p->x->stride, panel_bytes = (size_t)p->groups * line;
    const int8_t *x = p->x->values + (size_t)row * stride;
    const int8_t *w = p->w->data + (size_t)panel * panel_bytes;
    __m512i sums[tile_rows][tile_panels][most_splits];
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < panels; c++)
#pragma clang loop unroll(full)
            for (int32_t s = 0; s < splits; s++) sums[r][c][s] = _mm512_setzero_si512();

    const int32_t unroll = splits > 4 ? splits : 4;
    int32_t group = 0;
    for (; group + unroll <= p->groups; group += unroll, x += unroll * MK_GROUP, w += unroll * line) {
#pragma clang loop unroll(full)
        for (int32_t u = 0; u < unroll; u++) {
            group_i8(sums, u % splits, x + u * MK_GROUP, stride, w + u * line, panel_bytes, rows, panels);
        }
    }
    for (; group < p->groups; group++, x += MK_GROUP, w += line) {
        group_i8(sums, 0, x, stride, w, panel_bytes, rows, panels);
    }

#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < panels; c++) {
#pragma clang loop unroll(full)
            for (int32_t s = 1; s < splits; s++) sums[r][c][0] = _mm512_add_epi32(sums[r][c][0], sums[r][c][s]);
            if (p->planes == 1) {
                store_i8(p, row + r, panel + c, sums[r][c][0]);
            } else if (r % 2 == 1) {
                store_planes_i8(p, row + r - 1, panel + c, sums[r - 1][c][0], sums[r][c][0]);
            }
        }
    }
}

// Eight accumulators hide the latency of vpdpbusd (5 cycles, one or two a cycle).
#define SPLITS(rows, panels) ((rows) * (panels) >= 8 ? 1 : (rows) * (panels) >= 4 ? 2 : (rows) * (panels) >= 2 ? 4 : 8)
#define TILE_I8(rows, panels)                                                                                          \
    static void tile_i8_##rows##x##panels(const product_i8 *p, int32_t row, int32_t panel) {                           \
        tile_i8(p, row, panel, rows, panels, SPLITS(rows, panels));                                                    \
    }
#define TILES(make) make(1) make(2) make(3) make(4) make(5) make(6) make(7) make(8)
#define TILES_I8_OF(rows) TILE_I8(rows, 1) TILE_I8(rows, 2) TILE_I8(rows, 3)
TILES(TILES_I8_OF)

#define NAMES_I8_OF(rows) {tile_i8_##rows##x1, tile_i8_##rows##x2, tile_i8_##rows##x3},
static void (*const tiles_i8[tile_rows][tile_panels])(const product_i8 *, int32_t, int32_t) = {TILES(NAMES_I8_OF)};

// Rows in tiles of nearly equal height: 17 rows go as 6, 6, 5, so that no tile of one row reads W again for itself.
// Planes stay together: 18 rows of two planes go as 6, 6, 6, 10 as 6, 4.
static void panels_i8(const product_i8 *p, int32_t begin, int32_t end, int32_t panel, int32_t panels) {
    int32_t left = (end - begin + tile_rows - 1) / tile_rows;
    for (int32_t row = begin; row < end; left--) {
        int32_t rows = ((end - row) / p->planes + left - 1) / left * p->planes;
        tiles_i8[rows - 1][panels - 1](p, row, panel);
        row += rows;
    }
}

static void multiply_i8(const product_i8 *p, int32_t m, int32_t panel_begin, int32_t panel_end) {
    // Few rows are bound by reading W: one panel at a time is one linear stream.
    int32_t width = m == 1 ? 1 : tile_panels;
    int32_t block = mk_max_i32(block_bytes / p->x->stride / tile_rows, 1) * tile_rows;
    for (int32_t begin = 0; begin < m; begin += block) {
        int32_t end = mk_min_i32(m, begin + block);
        for (int32_t panel = panel_begin; panel < panel_end; panel += width) {
            panels_i8(p, begin, end, panel, mk_min_i32(width, panel_end - panel));
        }
    }
}

void mk_avx512vnni_matmul_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                             int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_i8 p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = 1,
                    .y = y, .y_stride = y_stride, .epilogue = epilogue};
    multiply_i8(&p, m, panel_begin, panel_end);
}

void mk_avx512vnni_matmul_planes_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                                    int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_i8 p = {.x = x, .w = w, .groups = mk_groups(w->columns), .planes = 2,
                    .y = y, .y_stride = y_stride, .epilogue = epilogue};
    multiply_i8(&p, 2 * m, panel_begin, panel_end);
}

void mk_avx512vnni_sums_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
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

MK_INLINE void tile_f32(const product_f32 *p, int32_t row, int32_t panel, const int32_t rows, const int32_t panels) {
    const size_t columns = (size_t)p->w->columns, panel_size = columns * MK_PANEL;
    const float *x = p->x + (size_t)row * p->x_stride;
    const float *w = p->w->data + (size_t)panel * panel_size;
    __m512 sums[tile_rows][tile_rows];
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < panels; c++) sums[r][c] = _mm512_setzero_ps();
    for (size_t k = 0; k < columns; k++) {
        __m512 weights[tile_rows];
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < panels; c++) weights[c] = _mm512_load_ps(w + (size_t)c * panel_size + k * MK_PANEL);
#pragma clang loop unroll(full)
        for (int32_t r = 0; r < rows; r++) {
            __m512 value = _mm512_set1_ps(x[(size_t)r * p->x_stride + k]);
#pragma clang loop unroll(full)
            for (int32_t c = 0; c < panels; c++) sums[r][c] = _mm512_fmadd_ps(value, weights[c], sums[r][c]);
        }
    }
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (int32_t c = 0; c < panels; c++) {
            int32_t n = (panel + c) * MK_PANEL;
            finish(sums[r][c], p->y + (size_t)(row + r) * p->y_stride + n, p->epilogue.bias ? p->epilogue.bias + n : NULL,
                   mk_lanes(p->w->rows - n), &p->epilogue);
        }
    }
}

#define TILE_F32(rows, panels)                                                                                         \
    static void tile_f32_##rows##x##panels(const product_f32 *p, int32_t row, int32_t panel) {                         \
        tile_f32(p, row, panel, rows, panels);                                                                         \
    }
#define TILES_F32_OF(rows) TILE_F32(rows, 1) TILE_F32(rows, 2) TILE_F32(rows, 3)
TILES(TILES_F32_OF)
TILE_F32(1, 8)  // a row alone: eight panels at once, since k may not be split

#define NAMES_F32_OF(rows) {tile_f32_##rows##x1, tile_f32_##rows##x2, tile_f32_##rows##x3},
static void (*const tiles_f32[tile_rows][tile_panels])(const product_f32 *, int32_t, int32_t) = {TILES(NAMES_F32_OF)};

static void panels_f32(const product_f32 *p, int32_t m, int32_t panel, int32_t panels) {
    int32_t left = (m + tile_rows - 1) / tile_rows;
    for (int32_t row = 0; row < m; left--) {
        int32_t rows = (m - row + left - 1) / left;
        tiles_f32[rows - 1][panels - 1](p, row, panel);
        row += rows;
    }
}

void mk_avx512vnni_matmul_f32(const float *x, int32_t x_stride, int32_t m, const mk_weights_f32 *w, int32_t panel_begin,
                              int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_f32 p = {x, (size_t)x_stride, w, y, (size_t)y_stride, epilogue};
    int32_t panel = panel_begin;
    for (; m == 1 && panel + 8 <= panel_end; panel += 8) tile_f32_1x8(&p, 0, panel);
    for (; panel < panel_end; panel += tile_panels) panels_f32(&p, m, panel, mk_min_i32(tile_panels, panel_end - panel));
}

MK_AVX512_END

#endif
