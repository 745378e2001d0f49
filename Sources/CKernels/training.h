// The training kernels of each path: one source (training_rows.h), compiled once an instruction set.
#ifndef MEMVP_CKERNELS_TRAINING_TABLE_H
#define MEMVP_CKERNELS_TRAINING_TABLE_H

#include "CKernelsTraining.h"
#include "normal.h"
#include "scalar.h"

// Each works on one row, one head of one sequence, or columns begin ..< end of one product. Contracts: CKernelsTraining.h.
typedef struct {
    void (*product)(const mk_product *product, int32_t begin, int32_t end);
    void (*scale_columns)(const float *x, int32_t columns, const float *scales, float *y);
    void (*rms_norm_gradient)(const float *x, const float *weight, int32_t columns, float epsilon, const float *dy,
                              float *dx);
    void (*swiglu_gradient)(const float *x, int32_t panels, const float *dy, const float *scales, float *dx);
    void (*silu_row)(const float *x, int32_t columns, float *y);
    void (*silu_gradient)(const float *x, int32_t columns, const float *dy, float *dx);
    void (*layer_norm_gradient)(const float *x, const float *weight, int32_t columns, float epsilon, const float *dy,
                                float *dx);
    void (*quick_gelu_gradient)(const float *x, int32_t columns, const float *dy, float *dx);
    void (*gelu_gradient)(const float *x, int32_t columns, const float *dy, float *dx);
    void (*attention_gradient)(const mk_attention_gradient *job, const mk_sequence *sequence, int32_t head,
                               float *scratch);
    double (*cross_entropy)(float *logits, int32_t columns, int32_t target, float weight, const float *scales);
} mk_training_table;

extern const mk_training_table mk_portable_training_table;
#if defined(__x86_64__)
extern const mk_training_table mk_avx2_training_table;
extern const mk_training_table mk_avx512_training_table;
#endif

#endif
