// Matrix products with NEON. int8 comes twice: with SDOT where the processor has it (Armv8.2 and later, most), else with
// widening multiplications. Both are signed by signed and exact: a product is at most 16,129, two of them 32,258, which
// int16 holds; every pair is widened to int32 at once. Which one runs cannot be told from the integers.
#if defined(__aarch64__)

#include "neon.h"
#include "paths.h"

#include <sys/auxv.h>

#pragma STDC FP_CONTRACT OFF

#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif

// y[n ...] = epilogue(product) for `remaining` of four outputs; y stands at the row's output 0.
MK_INLINE void mk_finish4(float32x4_t product, float *y, int32_t n, int32_t remaining, const mk_epilogue *epilogue) {
    float32x4_t v = product;
    if (epilogue->bias) v = vaddq_f32(v, mk_load4(epilogue->bias + n, remaining, 0));
    if (epilogue->accumulate) v = vaddq_f32(mk_load4(y + n, remaining, 0), v);
    mk_store4(y + n, remaining, mk_clamp4(v, vdupq_n_f32(epilogue->low), vdupq_n_f32(epilogue->high)));
}

MK_INLINE int32x4_t widening_dot(int32x4_t sum, int8x16_t w, int8x16_t x) {
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
}

#define MK_NAME(name) plain_##name
#define MK_DOT(sum, w, x) widening_dot(sum, w, x)
#include "gemm_neon_i8.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#define MK_NAME(name) dot_##name
#define MK_DOT(sum, w, x) vdotq_s32(sum, w, x)
#include "gemm_neon_i8.h"
#pragma clang attribute pop

static bool has_dot(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }

void mk_neon_matmul_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                       int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    (has_dot() ? dot_matmul : plain_matmul)(x, 1, m, w, panel_begin, panel_end, y, y_stride, epilogue);
}

void mk_neon_matmul_planes_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                              int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    (has_dot() ? dot_matmul : plain_matmul)(x, 2, m, w, panel_begin, panel_end, y, y_stride, epilogue);
}

void mk_neon_sums_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                     int32_t panel_end, int32_t *sums, int32_t sums_stride) {
    (has_dot() ? dot_sums : plain_sums)(x, m, w, panel_begin, panel_end, sums, sums_stride);
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

// One accumulator an output, k upwards.
MK_INLINE void tile_f32(const product_f32 *p, int32_t row, int32_t panel, const int32_t rows) {
    const size_t columns = (size_t)p->w->columns;
    const float *x = p->x + (size_t)row * p->x_stride;
    const float *w = p->w->data + (size_t)panel * columns * MK_PANEL;
    float32x4_t sums[4][4];
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) sums[r][q] = vdupq_n_f32(0);
    for (size_t k = 0; k < columns; k++) {
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) {
            float32x4_t weights = vld1q_f32(w + k * MK_PANEL + 4 * q);
#pragma clang loop unroll(full)
            for (int32_t r = 0; r < rows; r++) {
                sums[r][q] = vfmaq_f32(sums[r][q], weights, vdupq_n_f32(x[(size_t)r * p->x_stride + k]));
            }
        }
    }
#pragma clang loop unroll(full)
    for (int32_t r = 0; r < rows; r++) {
        float *y = p->y + (size_t)(row + r) * p->y_stride;
#pragma clang loop unroll(full)
        for (int32_t q = 0; q < 4; q++) {
            int32_t n = panel * MK_PANEL + 4 * q;
            if (n < p->w->rows) mk_finish4(sums[r][q], y, n, mk_min_i32(4, p->w->rows - n), &p->epilogue);
        }
    }
}

void mk_neon_matmul_f32(const float *x, int32_t x_stride, int32_t m, const mk_weights_f32 *w, int32_t panel_begin,
                        int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    product_f32 p = {x, (size_t)x_stride, w, y, (size_t)y_stride, epilogue};
    for (int32_t panel = panel_begin; panel < panel_end; panel++) {
        int32_t row = 0;
        for (; row + 4 <= m; row += 4) tile_f32(&p, row, panel, 4);
        for (; row + 2 <= m; row += 2) tile_f32(&p, row, panel, 2);
        for (; row < m; row++) tile_f32(&p, row, panel, 1);
    }
}

#endif
