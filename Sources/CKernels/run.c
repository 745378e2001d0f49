// Whole operations: one kernel split over a pool. A split decides only who computes an output, never how, so results do
// not depend on it. Jobs that are shorter than waking a thread stay on the caller.
//
// A job is cut into a few chunks for each thread, which whoever is free claims (pool.c): where another process holds up one
// thread, the others take over what it has not begun.
#include <stdatomic.h>

#include "pool.h"
#include "scalar.h"

// Below this a second thread costs more than it brings: a wake-up is 2 to 5 us when the other thread sleeps.
#define WORK_WORTH_A_THREAD (1 << 17)
// At least this much in a chunk, 1 or 2 us, so that claiming it costs nothing in comparison.
#define WORK_WORTH_A_CHUNK (1 << 16)
#define CHUNKS_A_THREAD 4
// One element of a row kernel counts as this many multiplications: it reads and writes float32.
#define WORK_OF_AN_ELEMENT 8

// work: multiplications of the whole job.
static void run(mk_pool *pool, int64_t work, void (*body)(void *job, mk_chunk chunk), void *job) {
    if (work < WORK_WORTH_A_THREAD || mk_pool_threads(pool) == 1) {
        body(job, (mk_chunk){0, 1, 0});
        return;
    }
    int64_t most = (int64_t)mk_pool_threads(pool) * CHUNKS_A_THREAD, fit = work / WORK_WORTH_A_CHUNK;
    mk_pool_run_chunks(pool, (int32_t)(fit < most ? fit : most), body, job);
}

// The chunk's part of 0 ..< count, in multiples of `grain` (the last one takes what is left).
typedef struct {
    int32_t begin, end;
} range;

static range range_of(int32_t count, mk_chunk chunk, int32_t grain) {
    int64_t units = ((int64_t)count + grain - 1) / grain;
    int64_t begin = units * chunk.index / chunk.count * grain, end = units * (chunk.index + 1) / chunk.count * grain;
    return (range){(int32_t)(begin < count ? begin : count), (int32_t)(end < count ? end : count)};
}

// ---- Matrix products -------------------------------------------------------------------------------------------

// Rows are split where they outnumber output features (the pixels of a convolution): each thread then reads all of a small
// W. Otherwise panels are split, so that each byte of W is read by one thread. Both go in multiples of the kernels' tiles.
#define ROW_GRAIN 24
#define PANEL_GRAIN 3

static bool splits_rows(int32_t m, int32_t n) { return m >= n && m >= 2 * ROW_GRAIN; }

typedef struct {
    const mk_table *table;
    const mk_activations_i8 *x;
    int32_t m;
    const mk_weights_i8 *w;
    float *y;
    int32_t y_stride;
    mk_epilogue epilogue;
} matmul_i8_job;

static void matmul_i8_part(void *context, mk_chunk chunk) {
    const matmul_i8_job *job = context;
    if (splits_rows(job->m, job->w->rows)) {
        range rows = range_of(job->m, chunk, ROW_GRAIN);
        mk_activations_i8 x = *job->x;
        x.values += (size_t)rows.begin * (size_t)x.stride;
        x.scales += rows.begin;
        x.sums += rows.begin;
        job->table->matmul_i8(&x, rows.end - rows.begin, job->w, 0, mk_panels(job->w->rows),
                              job->y + (size_t)rows.begin * (size_t)job->y_stride, job->y_stride, job->epilogue);
    } else {
        range panels = range_of(mk_panels(job->w->rows), chunk, PANEL_GRAIN);
        job->table->matmul_i8(job->x, job->m, job->w, panels.begin, panels.end, job->y, job->y_stride, job->epilogue);
    }
}

static int64_t product_of(int32_t a, int32_t b, int32_t c) { return (int64_t)a * b * c; }

void mk_run_matmul_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t m,
                      const mk_weights_i8 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_i8_job job = {table, x, m, w, y, y_stride, epilogue};
    run(pool, product_of(m, w->rows, w->columns), matmul_i8_part, &job);
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

static void matmul_f32_part(void *context, mk_chunk chunk) {
    const matmul_f32_job *job = context;
    if (splits_rows(job->m, job->w->rows)) {
        range rows = range_of(job->m, chunk, ROW_GRAIN);
        job->table->matmul_f32(job->x + (size_t)rows.begin * (size_t)job->x_stride, job->x_stride,
                               rows.end - rows.begin, job->w, 0, mk_panels(job->w->rows),
                               job->y + (size_t)rows.begin * (size_t)job->y_stride, job->y_stride, job->epilogue);
    } else {
        range panels = range_of(mk_panels(job->w->rows), chunk, PANEL_GRAIN);
        job->table->matmul_f32(job->x, job->x_stride, job->m, job->w, panels.begin, panels.end, job->y, job->y_stride,
                               job->epilogue);
    }
}

void mk_run_matmul_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                       const mk_weights_f32 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_f32_job job = {table, x, x_stride, m, w, y, y_stride, epilogue};
    run(pool, product_of(m, w->rows, w->columns), matmul_f32_part, &job);
}

// ---- Rows ------------------------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    const float *x;
    int32_t x_stride, m;
    mk_activations_i8 *out;
    float scale, inverse;
    _Atomic uint32_t maximum;  // bits of max|x|: non-negative floats order as their bits do
} quantize_job;

static void quantize_rows_part(void *context, mk_chunk chunk) {
    const quantize_job *job = context;
    range rows = range_of(job->m, chunk, 1);
    job->table->quantize_rows(job->x, job->x_stride, rows.begin, rows.end, job->out);
}

void mk_run_quantize_rows(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                          mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    run(pool, product_of(m, out->columns, WORK_OF_AN_ELEMENT), quantize_rows_part, &job);
}

static void maximum_part(void *context, mk_chunk chunk) {
    quantize_job *job = context;
    range rows = range_of(job->m, chunk, 1);
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

static void quantize_with_scale_part(void *context, mk_chunk chunk) {
    const quantize_job *job = context;
    range rows = range_of(job->m, chunk, 1);
    job->table->quantize_rows_with_scale(job->x, job->x_stride, rows.begin, rows.end, job->scale, job->inverse,
                                         job->out);
}

float mk_run_quantize_tensor(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                             mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    int64_t work = product_of(m, out->columns, WORK_OF_AN_ELEMENT);
    run(pool, work, maximum_part, &job);
    mk_scaling scaling = mk_scaling_of(mk_float_of_bits(atomic_load(&job.maximum)));
    job.scale = scaling.scale;
    job.inverse = scaling.inverse;
    run(pool, work, quantize_with_scale_part, &job);
    return scaling.scale;
}

typedef struct {
    const mk_table *table;
    const float *x, *weight;
    float *y;
    int32_t x_stride, y_stride, columns, m;  // columns: panels for SwiGLU
    float epsilon;
} rows_job;

static void rms_norm_part(void *context, mk_chunk chunk) {
    const rows_job *job = context;
    range rows = range_of(job->m, chunk, 1);
    job->table->rms_norm(job->x, job->x_stride, job->weight, job->columns, job->epsilon, rows.begin, rows.end, job->y,
                         job->y_stride);
}

void mk_run_rms_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                     int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride) {
    rows_job job = {table, x, weight, y, x_stride, y_stride, columns, m, epsilon};
    run(pool, product_of(m, columns, WORK_OF_AN_ELEMENT), rms_norm_part, &job);
}

static void swiglu_part(void *context, mk_chunk chunk) {
    const rows_job *job = context;
    range rows = range_of(job->m, chunk, 1);
    job->table->swiglu(job->x, job->x_stride, job->columns, rows.begin, rows.end, job->y, job->y_stride);
}

void mk_run_swiglu(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t panels, int32_t m,
                   float *y, int32_t y_stride) {
    rows_job job = {table, x, NULL, y, x_stride, y_stride, panels, m, 0};
    run(pool, product_of(m, panels * MK_PANEL, WORK_OF_AN_ELEMENT), swiglu_part, &job);
}

typedef struct {
    const mk_table *table;
    const float *x, *weight, *bias;
    float *y;
    int32_t x_stride, y_stride, columns, m;
    float epsilon;
} layer_norm_job;

static void layer_norm_part(void *context, mk_chunk chunk) {
    const layer_norm_job *job = context;
    range rows = range_of(job->m, chunk, 1);
    job->table->layer_norm(job->x, job->x_stride, job->weight, job->bias, job->columns, job->epsilon, rows.begin,
                           rows.end, job->y, job->y_stride);
}

void mk_run_layer_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                       const float *bias, int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride) {
    layer_norm_job job = {table, x, weight, bias, y, x_stride, y_stride, columns, m, epsilon};
    run(pool, product_of(m, columns, WORK_OF_AN_ELEMENT), layer_norm_part, &job);
}

typedef struct {
    void (*activation)(float *x, size_t count);
    float *x;
    int32_t x_stride, columns, m;
} activation_job;

static void activation_part(void *context, mk_chunk chunk) {
    const activation_job *job = context;
    range rows = range_of(job->m, chunk, 1);
    for (int32_t row = rows.begin; row < rows.end; row++) {
        job->activation(job->x + (size_t)row * (size_t)job->x_stride, (size_t)job->columns);
    }
}

void mk_run_activation(mk_pool *pool, void (*activation)(float *x, size_t count), float *x, int32_t x_stride,
                       int32_t columns, int32_t m) {
    activation_job job = {activation, x, x_stride, columns, m};
    run(pool, product_of(m, columns, WORK_OF_AN_ELEMENT), activation_part, &job);
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
static void attention_part(void *context, mk_chunk chunk) {
    const attention_job *all = context;
    mk_attention job = all->job;
    job.scores += (size_t)chunk.thread * (size_t)all->scores_stride;
    int64_t total = positions(&job, all->m), before = 0;
    int32_t begin = 0;
    while (begin < all->m && before < total * chunk.index / chunk.count) before += job.rows[begin++].length;
    int32_t end = begin;
    while (end < all->m && before < total * (chunk.index + 1) / chunk.count) before += job.rows[end++].length;
    all->table->attention(&job, begin, end);
}

void mk_run_attention(mk_pool *pool, const mk_table *table, mk_attention job, int32_t m, int32_t scores_stride) {
    attention_job all = {table, job, m, scores_stride};
    int64_t work = positions(&job, m) * job.heads * job.head_size * 2;
    run(m == 1 ? NULL : pool, work, attention_part, &all);
}

// ---- Convolution -----------------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    const mk_depthwise *shape;
    const float *x, *w, *bias;
    float *y;
} depthwise_job;

static int64_t work_of(const mk_depthwise *s) {
    return product_of(s->out_height, s->out_width, s->kernel * s->kernel) * s->channels;
}

static void depthwise_part(void *context, mk_chunk chunk) {
    const depthwise_job *job = context;
    range rows = range_of(job->shape->out_height, chunk, 1);
    job->table->depthwise(job->shape, job->x, job->w, job->bias, rows.begin, rows.end, job->y);
}

void mk_run_depthwise(mk_pool *pool, const mk_table *table, const mk_depthwise *shape, const float *x, const float *w,
                      const float *bias, float *y) {
    depthwise_job job = {table, shape, x, w, bias, y};
    run(pool, work_of(shape), depthwise_part, &job);
}
