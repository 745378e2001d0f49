// Operations of fine-tuning: gradients through the frozen decoder, and float32 products for what is trained.
//
// Products with frozen weights are those of serving, on transposed weights (`mk_run_matmul_*`); what stands here is the
// rest. Each output element has one fixed order of summation that depends on neither threads nor split. These kernels
// contract a*b+c to fma where the path has it. Sources/Tensor checks shapes and is the only caller.
#ifndef MEMVP_CKERNELS_TRAINING_H
#define MEMVP_CKERNELS_TRAINING_H

#include "CKernels.h"

// C = A B or C += A B in float32: A[i][k] = a[i * a_row + k * a_column] (so either order of A), B[k][j] = b[k * b_row + j],
// C[i][j] = c[i * c_row + j]. n is a multiple of 16.
typedef struct {
    const float *a, *b;
    float *c;
    int32_t m, n, k;
    int32_t a_row, a_column, b_row, c_row;
    bool accumulate;
} mk_product;

// Neighbouring rows that are one sequence; `bidirectional` rows attend to all of it, others to themselves and before.
typedef struct {
    int32_t begin, end;
    bool bidirectional;
} mk_sequence;

// Gradient of attention: from queries, keys and values (rotated, end to end in a row) and the gradient of the output to the
// gradient of queries, keys and values before rotation.
typedef struct {
    const float *qkv;                  // [rows][qkv_stride]
    const float *out_gradient;         // [rows][out_stride]
    float *qkv_gradient;               // [rows][qkv_stride], written whole
    const mk_sequence *sequences;      // [sequence_count]
    float *scratch;                    // [threads][scratch_stride]: twice the longest sequence rounded up to 16
    const float *cosines, *sines;      // [positions][head_size / 2]; NULL where nothing is rotated
    int32_t sequence_count, scratch_stride;
    int32_t qkv_stride, out_stride;
    int32_t heads, kv_heads, head_size;  // head_size a multiple of 16
    float scale;
} mk_attention_gradient;

// All products of the list; they may share inputs but not outputs.
void mk_run_products(mk_pool *pool, const mk_table *table, const mk_product *products, int32_t count);

// y[j][i] = x[i][j]: x [rows][x_stride], y [columns][y_stride].
void mk_run_transpose(mk_pool *pool, const float *x, int32_t x_stride, int32_t rows, int32_t columns, float *y,
                      int32_t y_stride);

// y = x * scales, column by column (the scales of transposed int8 weights); in place where y is x.
void mk_run_scale_columns(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                          int32_t columns, const float *scales, float *y, int32_t y_stride);

// Forward y = x r w with r = 1 / sqrt(mean(x^2) + epsilon); backward dx += r (w dy - x r^2 mean(w dy x)).
void mk_run_rms_norm_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                              const float *weight, int32_t columns, float epsilon, int32_t m, const float *dy,
                              int32_t dy_stride, float *dx, int32_t dx_stride);

// Forward y = SiLU(gate) * up on alternating panels; backward d gate = dy up SiLU'(gate), d up = dy SiLU(gate), each times
// `scales` (in the order of x; NULL for none).
void mk_run_swiglu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t panels,
                            int32_t m, const float *dy, int32_t dy_stride, const float *scales, float *dx,
                            int32_t dx_stride);

// y = SiLU(x) of `columns` values a row, a multiple of 16.
void mk_run_silu_rows(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t columns, int32_t m,
                      float *y, int32_t y_stride);
// dx = dy SiLU'(x), in place where dx is dy. SiLU'(x) = q (1 + x (1 - q)), q = 1 / (1 + exp(-x)).
void mk_run_silu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t columns,
                          int32_t m, const float *dy, int32_t dy_stride, float *dx, int32_t dx_stride);

void mk_run_attention_gradient(mk_pool *pool, const mk_table *table, mk_attention_gradient job);

// Forward y = (x - mean) r w + b with r = 1 / sqrt(variance + epsilon); backward, with g = w dy and h = (x - mean) r,
// dx += r (g - mean(g) - h mean(g h)).
void mk_run_layer_norm_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                                const float *weight, int32_t columns, float epsilon, int32_t m, const float *dy,
                                int32_t dy_stride, float *dx, int32_t dx_stride);
// dx = dy QuickGELU'(x) and dx = dy GELU'(x) (Phi(x) + x phi(x)), in place where dx is dy; columns a multiple of 16.
void mk_run_quick_gelu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                                int32_t columns, int32_t m, const float *dy, int32_t dy_stride, float *dx,
                                int32_t dx_stride);
void mk_run_gelu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t columns,
                          int32_t m, const float *dy, int32_t dy_stride, float *dx, int32_t dx_stride);

// Cross-entropy of rows of logits: losses[i] = -ln softmax(logits[i])[targets[i]]; afterwards the row holds
// weights[i] softmax(logits[i]) scales[j] (scales NULL for none): the gradient but for -weights[i] at the target, which is
// left to the caller because beside it the rest would drown in eight bits.
void mk_run_cross_entropy(mk_pool *pool, const mk_table *table, float *logits, int32_t stride, int32_t columns,
                          int32_t m, const int32_t *targets, const float *weights, const float *scales, double *losses);

// Rounds each row to int8 and back, as weights are when they are packed (mk_quantize_weight_row).
void mk_run_round_rows(mk_pool *pool, float *x, int32_t x_stride, int32_t columns, int32_t m);

// Finite IEEE 754 half-precision numbers as float32, exactly.
void mk_expand_half(const uint16_t *x, size_t count, float *y);

#endif
