// Whole operations: one kernel split over a pool. A split decides only who computes an output, never how, so results do
// not depend on it. Jobs that are shorter than waking a thread stay on the caller.
#include <stdatomic.h>

#include "scalar.h"

// Below these a second thread costs more than it brings (a wake-up is 2 to 5 us when the other thread sleeps).
#define MULTIPLICATIONS_WORTH_A_THREAD (1 << 17)
#define ELEMENTS_WORTH_A_THREAD (1 << 14)

// Part `part` of 0 ..< count, in multiples of `grain` (the last part takes what is left).
typedef struct {
    int32_t begin, end;
} range;

static range part_of(int32_t count, int32_t part, int32_t parts, int32_t grain) {
    int64_t units = ((int64_t)count + grain - 1) / grain;
    int64_t begin = units * part / parts * grain, end = units * (part + 1) / parts * grain;
    return (range){(int32_t)(begin < count ? begin : count), (int32_t)(end < count ? end : count)};
}

static void run(mk_pool *pool, bool alone, void (*body)(void *, int32_t, int32_t), void *context) {
    mk_pool_run(alone ? NULL : pool, body, context);
}

// ---- Matrix products -------------------------------------------------------------------------------------------

// Rows are split where they outnumber output features (the pixels of a convolution): each thread then reads all of a small
// W. Otherwise panels are split, so that each byte of W is read by one thread. Rows go in multiples of the kernels' tiles.
#define ROW_GRAIN 24

static bool splits_rows(int32_t m, int32_t n, int32_t parts) { return m >= n && m >= ROW_GRAIN * parts; }

typedef struct {
    const mk_table *table;
    const mk_activations_i8 *x;
    int32_t m;
    const mk_weights_i8 *w;
    float *y;
    int32_t y_stride;
    mk_epilogue epilogue;
} matmul_i8_job;

static void matmul_i8_part(void *context, int32_t part, int32_t parts) {
    const matmul_i8_job *job = context;
    if (splits_rows(job->m, job->w->rows, parts)) {
        range rows = part_of(job->m, part, parts, ROW_GRAIN);
        mk_activations_i8 x = *job->x;
        x.values += (size_t)rows.begin * (size_t)x.stride;
        x.scales += rows.begin;
        x.sums += rows.begin;
        job->table->matmul_i8(&x, rows.end - rows.begin, job->w, 0, mk_panels(job->w->rows),
                              job->y + (size_t)rows.begin * (size_t)job->y_stride, job->y_stride, job->epilogue);
    } else {
        range panels = part_of(mk_panels(job->w->rows), part, parts, 1);
        job->table->matmul_i8(job->x, job->m, job->w, panels.begin, panels.end, job->y, job->y_stride, job->epilogue);
    }
}

static bool is_small_product(int32_t m, int32_t rows, int32_t columns) {
    return (int64_t)m * rows * columns < MULTIPLICATIONS_WORTH_A_THREAD;
}

void mk_run_matmul_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t m,
                      const mk_weights_i8 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_i8_job job = {table, x, m, w, y, y_stride, epilogue};
    run(pool, is_small_product(m, w->rows, w->columns), matmul_i8_part, &job);
}

typedef struct {
    const mk_table *table;
    const float *x;
    int32_t x_stride, m;
    const mk_weights_f32 *w;
    float *y;
    int32_t y_stride;
    mk_epilogue epilogue;
} matmul_f32_job;

static void matmul_f32_part(void *context, int32_t part, int32_t parts) {
    const matmul_f32_job *job = context;
    if (splits_rows(job->m, job->w->rows, parts)) {
        range rows = part_of(job->m, part, parts, ROW_GRAIN);
        job->table->matmul_f32(job->x + (size_t)rows.begin * (size_t)job->x_stride, job->x_stride,
                               rows.end - rows.begin, job->w, 0, mk_panels(job->w->rows),
                               job->y + (size_t)rows.begin * (size_t)job->y_stride, job->y_stride, job->epilogue);
    } else {
        range panels = part_of(mk_panels(job->w->rows), part, parts, 1);
        job->table->matmul_f32(job->x, job->x_stride, job->m, job->w, panels.begin, panels.end, job->y, job->y_stride,
                               job->epilogue);
    }
}

void mk_run_matmul_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                       const mk_weights_f32 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_f32_job job = {table, x, x_stride, m, w, y, y_stride, epilogue};
    run(pool, is_small_product(m, w->rows, w->columns), matmul_f32_part, &job);
}

// ---- Rows ------------------------------------------------------------------------------------------------------

static bool is_small(int32_t rows, int32_t columns) { return (int64_t)rows * columns < ELEMENTS_WORTH_A_THREAD; }

typedef struct {
    const mk_table *table;
    const float *x;
    int32_t x_stride, m;
    mk_activations_i8 *out;
    float scale, inverse;
    _Atomic uint32_t maximum;  // bits of max|x|: non-negative floats order as their bits do
} quantize_job;

static void quantize_rows_part(void *context, int32_t part, int32_t parts) {
    const quantize_job *job = context;
    range rows = part_of(job->m, part, parts, 1);
    job->table->quantize_rows(job->x, job->x_stride, rows.begin, rows.end, job->out);
}

void mk_run_quantize_rows(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                          mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    run(pool, is_small(m, out->columns), quantize_rows_part, &job);
}

static void maximum_part(void *context, int32_t part, int32_t parts) {
    quantize_job *job = context;
    range rows = part_of(job->m, part, parts, 1);
    float maximum = 0;
    if (job->x_stride == job->out->columns) {
        maximum = job->table->max_abs(job->x + (size_t)rows.begin * (size_t)job->x_stride,
                                      (size_t)(rows.end - rows.begin) * (size_t)job->x_stride);
    } else {
        for (int32_t row = rows.begin; row < rows.end; row++) {
            float of_row = job->table->max_abs(job->x + (size_t)row * (size_t)job->x_stride, (size_t)job->out->columns);
            if (of_row > maximum) maximum = of_row;
        }
    }
    uint32_t mine = mk_bits_of_float(maximum), held = atomic_load(&job->maximum);
    while (mine > held && !atomic_compare_exchange_weak(&job->maximum, &held, mine)) {}
}

static void quantize_with_scale_part(void *context, int32_t part, int32_t parts) {
    const quantize_job *job = context;
    range rows = part_of(job->m, part, parts, 1);
    job->table->quantize_rows_with_scale(job->x, job->x_stride, rows.begin, rows.end, job->scale, job->inverse,
                                         job->out);
}

float mk_run_quantize_tensor(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                             mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    bool alone = is_small(m, out->columns);
    run(pool, alone, maximum_part, &job);
    mk_scaling scaling = mk_scaling_of(mk_float_of_bits(atomic_load(&job.maximum)));
    job.scale = scaling.scale;
    job.inverse = scaling.inverse;
    run(pool, alone, quantize_with_scale_part, &job);
    return scaling.scale;
}

typedef struct {
    const mk_table *table;
    const float *x, *weight;
    float *y;
    int32_t x_stride, y_stride, columns, m;  // columns: panels for SwiGLU
    float epsilon;
} rows_job;

static void rms_norm_part(void *context, int32_t part, int32_t parts) {
    const rows_job *job = context;
    range rows = part_of(job->m, part, parts, 1);
    job->table->rms_norm(job->x, job->x_stride, job->weight, job->columns, job->epsilon, rows.begin, rows.end, job->y,
                         job->y_stride);
}

void mk_run_rms_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                     int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride) {
    rows_job job = {table, x, weight, y, x_stride, y_stride, columns, m, epsilon};
    run(pool, is_small(m, columns), rms_norm_part, &job);
}

static void swiglu_part(void *context, int32_t part, int32_t parts) {
    const rows_job *job = context;
    range rows = part_of(job->m, part, parts, 1);
    job->table->swiglu(job->x, job->x_stride, job->columns, rows.begin, rows.end, job->y, job->y_stride);
}

void mk_run_swiglu(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t panels, int32_t m,
                   float *y, int32_t y_stride) {
    rows_job job = {table, x, NULL, y, x_stride, y_stride, panels, m, 0};
    run(pool, is_small(m, panels * MK_PANEL), swiglu_part, &job);
}

// ---- Attention -------------------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    mk_attention job;
    int32_t m, scores_stride;
} attention_job;

static int64_t positions(const mk_attention *job, int32_t m) {
    int64_t total = 0;
    for (int32_t row = 0; row < m; row++) total += job->rows[row].length;
    return total;
}

// Rows are split by the positions they read, not by their number: a causal prompt's last row costs as much as its first
// half dozen. The boundaries follow from the lengths alone.
static void attention_part(void *context, int32_t part, int32_t parts) {
    const attention_job *all = context;
    mk_attention job = all->job;
    job.scores += (size_t)part * (size_t)all->scores_stride;
    int64_t total = positions(&job, all->m), before = 0;
    int32_t begin = 0;
    while (begin < all->m && before < total * part / parts) before += job.rows[begin++].length;
    int32_t end = begin;
    while (end < all->m && before < total * (part + 1) / parts) before += job.rows[end++].length;
    all->table->attention(&job, begin, end);
}

void mk_run_attention(mk_pool *pool, const mk_table *table, mk_attention job, int32_t m, int32_t scores_stride) {
    attention_job all = {table, job, m, scores_stride};
    int64_t work = positions(&job, m) * job.heads * job.head_size * 2;
    run(pool, m == 1 || work < MULTIPLICATIONS_WORTH_A_THREAD, attention_part, &all);
}

// ---- Convolution -----------------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    const mk_depthwise *shape;
    const void *x, *w;
    float x_scale;
    const float *w_scales, *bias;
    float *y;
} depthwise_job;

static bool is_small_depthwise(const mk_depthwise *s) {
    return is_small_product(s->out_height, s->out_width * s->channels, s->kernel * s->kernel);
}

static void depthwise_i8_part(void *context, int32_t part, int32_t parts) {
    const depthwise_job *job = context;
    range rows = part_of(job->shape->out_height, part, parts, 1);
    job->table->depthwise_i8(job->shape, job->x, job->x_scale, job->w, job->w_scales, job->bias, rows.begin, rows.end,
                             job->y);
}

void mk_run_depthwise_i8(mk_pool *pool, const mk_table *table, const mk_depthwise *shape, const int8_t *x,
                         float x_scale, const int8_t *w, const float *w_scales, const float *bias, float *y) {
    depthwise_job job = {table, shape, x, w, x_scale, w_scales, bias, y};
    run(pool, is_small_depthwise(shape), depthwise_i8_part, &job);
}

static void depthwise_f32_part(void *context, int32_t part, int32_t parts) {
    const depthwise_job *job = context;
    range rows = part_of(job->shape->out_height, part, parts, 1);
    job->table->depthwise_f32(job->shape, job->x, job->w, job->bias, rows.begin, rows.end, job->y);
}

void mk_run_depthwise_f32(mk_pool *pool, const mk_table *table, const mk_depthwise *shape, const float *x,
                          const float *w, const float *bias, float *y) {
    depthwise_job job = {table, shape, x, w, 0, NULL, bias, y};
    run(pool, is_small_depthwise(shape), depthwise_f32_part, &job);
}
