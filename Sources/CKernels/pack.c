// From row-major weights to the packed layout of CKernels.h, and float32 weights to int8. Runs once, at import.
#include "scalar.h"

#pragma STDC FP_CONTRACT OFF

size_t mk_packed_size_i8(int32_t rows, int32_t columns) {
    return (size_t)mk_panels(rows) * (size_t)mk_groups(columns) * MK_PANEL * MK_GROUP;
}

size_t mk_packed_size_f32(int32_t rows, int32_t columns) {
    return (size_t)mk_panels(rows) * (size_t)columns * MK_PANEL * sizeof(float);
}

void mk_pack_panel_i8(const int8_t *source, int32_t count, int32_t columns, int8_t *panel) {
    memset(panel, 0, (size_t)mk_groups(columns) * MK_PANEL * MK_GROUP);
    for (int32_t i = 0; i < count; i++) {
        for (int32_t k = 0; k < columns; k++) {
            size_t at = ((size_t)(k / MK_GROUP) * MK_PANEL + (size_t)i) * MK_GROUP + (size_t)(k % MK_GROUP);
            panel[at] = source[(size_t)i * columns + k];
        }
    }
}

void mk_pack_panel_f32(const float *source, int32_t count, int32_t columns, float *panel) {
    memset(panel, 0, (size_t)columns * MK_PANEL * sizeof(float));
    for (int32_t i = 0; i < count; i++) {
        for (int32_t k = 0; k < columns; k++) panel[(size_t)k * MK_PANEL + i] = source[(size_t)i * columns + k];
    }
}

float mk_quantize_weight_row(const float *source, int32_t columns, int8_t *out) {
    mk_scaling scaling = mk_scaling_of(mk_max_abs(source, (size_t)columns));
    for (int32_t k = 0; k < columns; k++) out[k] = mk_round_i8(source[k] * scaling.inverse);
    return scaling.scale;
}
