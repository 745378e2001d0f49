// Matrix products, scalar: the reference every fast path is tested against, written to be read.
#include "paths.h"
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

// sums[i] = sum over k of x[k] * W[16 panel + i][k], exact in int32.
static void panel_sums(const int8_t *x, const int8_t *panel, int32_t groups, int32_t sums[MK_PANEL]) {
    for (int32_t i = 0; i < MK_PANEL; i++) sums[i] = 0;
    for (int32_t group = 0; group < groups; group++) {
        for (int32_t i = 0; i < MK_PANEL; i++) {
            for (int32_t j = 0; j < MK_GROUP; j++) {
                sums[i] += (int32_t)x[group * MK_GROUP + j] * panel[(group * MK_PANEL + i) * MK_GROUP + j];
            }
        }
    }
}

// The product of row `row` of x with output n from its integer sum: the scales are multiplied first.
static float product_of(const mk_activations_i8 *x, int32_t row, const mk_weights_i8 *w, int32_t n, int32_t sum) {
    return x->scales[row] * w->scales[n] * (float)sum;
}

static float finish(float product, int32_t n, float held, const mk_epilogue *epilogue) {
    float v = epilogue->bias ? product + epilogue->bias[n] : product;
    if (epilogue->accumulate) v = held + v;
    return mk_clamp(v, epilogue->low, epilogue->high);
}

void mk_scalar_matmul_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                         int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    int32_t groups = mk_groups(w->columns), last = mk_last_row(w->rows, panel_end);
    for (int32_t panel = panel_begin; panel < panel_end; panel++) {
        const int8_t *weights = w->data + (size_t)panel * groups * MK_PANEL * MK_GROUP;
        for (int32_t row = 0; row < m; row++) {
            int32_t sums[MK_PANEL];
            panel_sums(x->values + (size_t)row * x->stride, weights, groups, sums);
            float *out = y + (size_t)row * y_stride;
            for (int32_t n = panel * MK_PANEL; n < last && n < (panel + 1) * MK_PANEL; n++) {
                out[n] = finish(product_of(x, row, w, n, sums[n % MK_PANEL]), n, out[n], &epilogue);
            }
        }
    }
}

void mk_scalar_matmul_planes_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                                int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    int32_t groups = mk_groups(w->columns), last = mk_last_row(w->rows, panel_end);
    for (int32_t panel = panel_begin; panel < panel_end; panel++) {
        const int8_t *weights = w->data + (size_t)panel * groups * MK_PANEL * MK_GROUP;
        for (int32_t row = 0; row < m; row++) {
            int32_t coarse[MK_PANEL], fine[MK_PANEL];
            panel_sums(x->values + (size_t)2 * row * x->stride, weights, groups, coarse);
            panel_sums(x->values + (size_t)(2 * row + 1) * x->stride, weights, groups, fine);
            float *out = y + (size_t)row * y_stride;
            for (int32_t n = panel * MK_PANEL; n < last && n < (panel + 1) * MK_PANEL; n++) {
                float v = product_of(x, 2 * row, w, n, coarse[n % MK_PANEL]) +
                          product_of(x, 2 * row + 1, w, n, fine[n % MK_PANEL]);
                if (epilogue.accumulate) v = out[n] + v;
                if (epilogue.bias) v += epilogue.bias[n];
                out[n] = mk_clamp(v, epilogue.low, epilogue.high);
            }
        }
    }
}

void mk_scalar_sums_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,
                       int32_t panel_end, int32_t *sums, int32_t sums_stride) {
    int32_t groups = mk_groups(w->columns), last = mk_last_row(w->rows, panel_end);
    for (int32_t panel = panel_begin; panel < panel_end; panel++) {
        const int8_t *weights = w->data + (size_t)panel * groups * MK_PANEL * MK_GROUP;
        for (int32_t row = 0; row < m; row++) {
            int32_t of_panel[MK_PANEL];
            panel_sums(x->values + (size_t)row * x->stride, weights, groups, of_panel);
            int32_t *out = sums + (size_t)row * sums_stride;
            for (int32_t n = panel * MK_PANEL; n < last && n < (panel + 1) * MK_PANEL; n++) {
                out[n] = of_panel[n % MK_PANEL];
            }
        }
    }
}

void mk_scalar_matmul_f32(const float *x, int32_t x_stride, int32_t m, const mk_weights_f32 *w, int32_t panel_begin,
                          int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue) {
    int32_t last = mk_last_row(w->rows, panel_end);
    for (int32_t panel = panel_begin; panel < panel_end; panel++) {
        const float *weights = w->data + (size_t)panel * w->columns * MK_PANEL;
        for (int32_t row = 0; row < m; row++) {
            float sums[MK_PANEL] = {0};
            for (int32_t k = 0; k < w->columns; k++) {
                float value = x[(size_t)row * x_stride + k];
                for (int32_t i = 0; i < MK_PANEL; i++) sums[i] += value * weights[(size_t)k * MK_PANEL + i];
            }
            float *out = y + (size_t)row * y_stride;
            for (int32_t n = panel * MK_PANEL; n < last && n < (panel + 1) * MK_PANEL; n++) {
                out[n] = finish(sums[n % MK_PANEL], n, out[n], &epilogue);
            }
        }
    }
}

void mk_row_i8(const mk_weights_i8 *w, int32_t row, float *out) {
    int32_t groups = mk_groups(w->columns), within = row % MK_PANEL;
    const int8_t *panel = w->data + (size_t)(row / MK_PANEL) * groups * MK_PANEL * MK_GROUP;
    for (int32_t k = 0; k < w->columns; k++) {
        size_t at = ((size_t)(k / MK_GROUP) * MK_PANEL + within) * MK_GROUP + k % MK_GROUP;
        out[k] = w->scales[row] * (float)panel[at];
    }
}

void mk_row_f32(const mk_weights_f32 *w, int32_t row, float *out) {
    const float *panel = w->data + (size_t)(row / MK_PANEL) * w->columns * MK_PANEL;
    for (int32_t k = 0; k < w->columns; k++) out[k] = panel[(size_t)k * MK_PANEL + row % MK_PANEL];
}
