// Which kernels this machine runs. One row a path; detection runs once, at the first question.
#include <stdatomic.h>

#include "paths.h"

#define MK_TABLE(which, title, short_name)                                                                             \
    {.path = which,                                                                                                    \
     .name = title,                                                                                                    \
     .matmul_i8 = mk_##short_name##_matmul_i8,                                                                         \
     .sums_i8 = mk_##short_name##_sums_i8,                                                                             \
     .matmul_f32 = mk_##short_name##_matmul_f32,                                                                       \
     .quantize_rows = mk_##short_name##_quantize_rows,                                                                 \
     .quantize_rows_with_scale = mk_##short_name##_quantize_rows_with_scale,                                           \
     .max_abs = mk_##short_name##_max_abs,                                                                             \
     .rms_norm = mk_##short_name##_rms_norm,                                                                           \
     .rope = mk_##short_name##_rope,                                                                                   \
     .attention = mk_##short_name##_attention,                                                                         \
     .swiglu = mk_##short_name##_swiglu,                                                                               \
     .silu = mk_##short_name##_silu,                                                                                   \
     .argmax_logsumexp = mk_##short_name##_argmax_logsumexp,                                                           \
     .row_i8 = mk_row_i8,                                                                                              \
     .row_f32 = mk_row_f32,                                                                                            \
     .depthwise_i8 = mk_##short_name##_depthwise_i8,                                                                   \
     .depthwise_f32 = mk_##short_name##_depthwise_f32}

static const mk_table scalar_table = MK_TABLE(MK_SCALAR, "scalar", scalar);

const mk_table *mk_table_for(mk_path path) { return path == MK_SCALAR ? &scalar_table : NULL; }

mk_path mk_best_path(void) { return MK_SCALAR; }
