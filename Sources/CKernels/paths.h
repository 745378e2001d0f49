// The kernels of each path, for its row of the dispatch table (dispatch.c). Contracts: CKernels.h.
#ifndef MEMVP_CKERNELS_PATHS_H
#define MEMVP_CKERNELS_PATHS_H

#include "CKernels.h"

#define MK_DECLARE_PATH(path)                                                                                          \
    void mk_##path##_matmul_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,     \
                               int32_t panel_end, float *y, int32_t y_stride, mk_epilogue epilogue);                   \
    void mk_##path##_matmul_planes_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w,                   \
                                      int32_t panel_begin, int32_t panel_end, float *y, int32_t y_stride,              \
                                      mk_epilogue epilogue);                                                           \
    void mk_##path##_sums_i8(const mk_activations_i8 *x, int32_t m, const mk_weights_i8 *w, int32_t panel_begin,       \
                             int32_t panel_end, int32_t *sums, int32_t sums_stride);                                   \
    void mk_##path##_matmul_f32(const float *x, int32_t x_stride, int32_t m, const mk_weights_f32 *w,                  \
                                int32_t panel_begin, int32_t panel_end, float *y, int32_t y_stride,                    \
                                mk_epilogue epilogue);                                                                 \
    void mk_##path##_quantize_rows(const float *x, int32_t x_stride, int32_t begin, int32_t end,                       \
                                   mk_activations_i8 *out);                                                            \
    void mk_##path##_quantize_planes(const float *x, int32_t x_stride, int32_t begin, int32_t end,                     \
                                     mk_activations_i8 *out);                                                          \
    void mk_##path##_quantize_rows_with_scale(const float *x, int32_t x_stride, int32_t begin, int32_t end,            \
                                              float scale, float inverse_scale, mk_activations_i8 *out);               \
    float mk_##path##_max_abs(const float *x, size_t count);                                                           \
    void mk_##path##_rms_norm(const float *x, int32_t x_stride, const float *weight, int32_t columns, float epsilon,   \
                              int32_t begin, int32_t end, float *y, int32_t y_stride);                                 \
    void mk_##path##_rope(float *x, int32_t heads, int32_t head_size, const float *cosines, const float *sines);       \
    void mk_##path##_attention(const mk_attention *job, int32_t begin, int32_t end);                                   \
    void mk_##path##_swiglu(const float *x, int32_t x_stride, int32_t panels, int32_t begin, int32_t end, float *y,    \
                            int32_t y_stride);                                                                         \
    void mk_##path##_silu(float *x, size_t count);                                                                     \
    void mk_##path##_layer_norm(const float *x, int32_t x_stride, const float *weight, const float *bias,              \
                                int32_t columns, float epsilon, int32_t begin, int32_t end, float *y,                  \
                                int32_t y_stride);                                                                     \
    void mk_##path##_gelu(float *x, size_t count);                                                                     \
    void mk_##path##_quick_gelu(float *x, size_t count);                                                               \
    void mk_##path##_argmax_logsumexp(const float *x, int32_t count, int32_t *index, float *maximum,                   \
                                      float *logsumexp);                                                               \
    void mk_##path##_depthwise(const mk_depthwise *shape, const float *x, const float *w, const float *bias,           \
                               int32_t begin, int32_t end, float *y);

MK_DECLARE_PATH(scalar)
#if defined(__x86_64__)
MK_DECLARE_PATH(avx2)
MK_DECLARE_PATH(avx512vnni)
#elif defined(__aarch64__)
MK_DECLARE_PATH(neon)
#endif

#undef MK_DECLARE_PATH

// Reading one row back is bound by memory, not arithmetic: every path shares these.
void mk_row_i8(const mk_weights_i8 *w, int32_t row, float *out);
void mk_row_f32(const mk_weights_f32 *w, int32_t row, float *out);

#endif
