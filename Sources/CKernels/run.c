// Whole operations: one kernel split over a pool. A split decides only who computes an output, never how, so results do
// not depend on it. How jobs are cut, and which stay on the caller because waking a thread would take longer: pool.h.
#include <stdatomic.h>

#include "pool.h"
#include "scalar.h"

// ---- Matrix products -------------------------------------------------------------------------------------------

// Rows are split where they outnumber output features (the pixels of a convolution): each thread then reads all of a
// small W. Otherwise panels are split, so that each byte of W is read by one thread. Both go in multiples of the
// kernels' tiles.
#define ROW_GRAIN 24
#define PANEL_GRAIN 3

static bool splits_rows(int32_t m, int32_t n) { return m >= n && m >= 2 * ROW_GRAIN; }

// Parts that a product of m rows and n outputs falls into.
static int32_t units_of(int32_t m, int32_t n) {
    return splits_rows(m, n) ? mk_units(m, ROW_GRAIN) : mk_units(mk_panels(n), PANEL_GRAIN);
}

typedef struct {
    const mk_table *table;
    const mk_activations_i8 *x;
    int32_t planes, m;  // rows of x that make a row of y; rows of x
    const mk_weights_i8 *w;
    float *y;
    int32_t y_stride;
    mk_epilogue epilogue;
} matmul_i8_job;

static void matmul_i8_part(void *context, mk_chunk chunk) {
    const matmul_i8_job *job = context;
    mk_range rows = {0, job->m}, panels = {0, mk_panels(job->w->rows)};
    if (splits_rows(job->m, job->w->rows)) {
        rows = mk_range_of(job->m, chunk, ROW_GRAIN);
    } else {
        panels = mk_range_of(panels.end, chunk, PANEL_GRAIN);
    }
    const mk_activations_i8 x = mk_rows_from(job->x, rows.begin);
    const int32_t first = rows.begin / job->planes, m = (rows.end - rows.begin) / job->planes;
    (job->planes == 2 ? job->table->matmul_planes_i8 : job->table->matmul_i8)(
        &x, m, job->w, panels.begin, panels.end, job->y + (size_t)first * (size_t)job->y_stride, job->y_stride,
        job->epilogue);
}

static int64_t product_of(int32_t a, int32_t b, int32_t c) { return (int64_t)a * b * c; }

static void run_matmul_i8(mk_pool *pool, matmul_i8_job *job) {
    const int32_t n = job->w->rows;
    mk_pool_run_work(pool, product_of(job->m, n, job->w->columns), units_of(job->m, n), matmul_i8_part, job);
}

void mk_run_matmul_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t m,
                      const mk_weights_i8 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_i8_job job = {table, x, 1, m, w, y, y_stride, epilogue};
    run_matmul_i8(pool, &job);
}

void mk_run_matmul_planes_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t m,
                             const mk_weights_i8 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_i8_job job = {table, x, 2, 2 * m, w, y, y_stride, epilogue};
    run_matmul_i8(pool, &job);
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
        mk_range rows = mk_range_of(job->m, chunk, ROW_GRAIN);
        job->table->matmul_f32(job->x + (size_t)rows.begin * (size_t)job->x_stride, job->x_stride,
                               rows.end - rows.begin, job->w, 0, mk_panels(job->w->rows),
                               job->y + (size_t)rows.begin * (size_t)job->y_stride, job->y_stride, job->epilogue);
    } else {
        mk_range panels = mk_range_of(mk_panels(job->w->rows), chunk, PANEL_GRAIN);
        job->table->matmul_f32(job->x, job->x_stride, job->m, job->w, panels.begin, panels.end, job->y, job->y_stride,
                               job->epilogue);
    }
}

void mk_run_matmul_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                       const mk_weights_f32 *w, float *y, int32_t y_stride, mk_epilogue epilogue) {
    matmul_f32_job job = {table, x, x_stride, m, w, y, y_stride, epilogue};
    mk_pool_run_work(pool, product_of(m, w->rows, w->columns), units_of(m, w->rows), matmul_f32_part, &job);
}

// ---- Rows ------------------------------------------------------------------------------------------------------

// A row kernel on m rows of `columns` values.
static void run_rows(mk_pool *pool, int32_t m, int32_t columns, void (*body)(void *job, mk_chunk chunk), void *job) {
    mk_pool_run_work(pool, product_of(m, columns, MK_WORK_OF_AN_ELEMENT), m, body, job);
}

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
    mk_range rows = mk_range_of(job->m, chunk, 1);
    job->table->quantize_rows(job->x, job->x_stride, rows.begin, rows.end, job->out);
}

void mk_run_quantize_rows(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                          mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    run_rows(pool, m, out->columns, quantize_rows_part, &job);
}

static void quantize_planes_part(void *context, mk_chunk chunk) {
    const quantize_job *job = context;
    mk_range rows = mk_range_of(job->m, chunk, 1);
    job->table->quantize_planes(job->x, job->x_stride, rows.begin, rows.end, job->out);
}

void mk_run_quantize_planes(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                            mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    run_rows(pool, m, out->columns, quantize_planes_part, &job);
}

static void maximum_part(void *context, mk_chunk chunk) {
    quantize_job *job = context;
    mk_range rows = mk_range_of(job->m, chunk, 1);
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
    mk_range rows = mk_range_of(job->m, chunk, 1);
    job->table->quantize_rows_with_scale(job->x, job->x_stride, rows.begin, rows.end, job->scale, job->inverse,
                                         job->out);
}

float mk_run_quantize_tensor(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                             mk_activations_i8 *out) {
    quantize_job job = {.table = table, .x = x, .x_stride = x_stride, .m = m, .out = out};
    run_rows(pool, m, out->columns, maximum_part, &job);
    mk_scaling scaling = mk_scaling_of(mk_float_of_bits(atomic_load(&job.maximum)));
    job.scale = scaling.scale;
    job.inverse = scaling.inverse;
    run_rows(pool, m, out->columns, quantize_with_scale_part, &job);
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
    mk_range rows = mk_range_of(job->m, chunk, 1);
    job->table->rms_norm(job->x, job->x_stride, job->weight, job->columns, job->epsilon, rows.begin, rows.end, job->y,
                         job->y_stride);
}

void mk_run_rms_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                     int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride) {
    rows_job job = {table, x, weight, y, x_stride, y_stride, columns, m, epsilon};
    run_rows(pool, m, columns, rms_norm_part, &job);
}

static void swiglu_part(void *context, mk_chunk chunk) {
    const rows_job *job = context;
    mk_range rows = mk_range_of(job->m, chunk, 1);
    job->table->swiglu(job->x, job->x_stride, job->columns, rows.begin, rows.end, job->y, job->y_stride);
}

void mk_run_swiglu(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t panels, int32_t m,
                   float *y, int32_t y_stride) {
    rows_job job = {table, x, NULL, y, x_stride, y_stride, panels, m, 0};
    run_rows(pool, m, panels * MK_PANEL, swiglu_part, &job);
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
    mk_range rows = mk_range_of(job->m, chunk, 1);
    job->table->layer_norm(job->x, job->x_stride, job->weight, job->bias, job->columns, job->epsilon, rows.begin,
                           rows.end, job->y, job->y_stride);
}

void mk_run_layer_norm(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, const float *weight,
                       const float *bias, int32_t columns, float epsilon, int32_t m, float *y, int32_t y_stride) {
    layer_norm_job job = {table, x, weight, bias, y, x_stride, y_stride, columns, m, epsilon};
    run_rows(pool, m, columns, layer_norm_part, &job);
}

typedef struct {
    void (*activation)(float *x, size_t count);
    float *x;
    int32_t x_stride, columns, m;
} activation_job;

static void activation_part(void *context, mk_chunk chunk) {
    const activation_job *job = context;
    mk_range rows = mk_range_of(job->m, chunk, 1);
    for (int32_t row = rows.begin; row < rows.end; row++) {
        job->activation(job->x + (size_t)row * (size_t)job->x_stride, (size_t)job->columns);
    }
}

void mk_run_activation(mk_pool *pool, void (*activation)(float *x, size_t count), float *x, int32_t x_stride,
                       int32_t columns, int32_t m) {
    activation_job job = {activation, x, x_stride, columns, m};
    run_rows(pool, m, columns, activation_part, &job);
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

// Key/value heads first ..< last of one row, with the query heads that share them.
static void attend(const mk_table *table, const mk_attention *job, int32_t row, int32_t first, int32_t last) {
    const int32_t sharing = job->heads / job->kv_heads, size = job->head_size;
    mk_attention_row past = job->rows[row];
    past.keys += (size_t)first * size;
    past.values += (size_t)first * size;
    mk_attention part = *job;
    part.rows = &past;
    part.queries += (size_t)row * job->query_stride + (size_t)first * sharing * size;
    part.out += (size_t)row * job->out_stride + (size_t)first * sharing * size;
    part.heads = (last - first) * sharing;
    part.kv_heads = last - first;
    table->attention(&part, 0, 1);
}

// A row alone is worth a second thread from here on: 228 positions of nine heads of 64. Measured on avx512vnni with two
// threads, three key/value heads, right after a product: awake, the second thread makes 9.0 us of 230 positions 6.6 and
// 41 us of 1,000 28; asleep on a busy machine it costs 0.4 us, which 115 positions (4.6 us, or 3.9) hardly bring in.
#define WORK_OF_A_ROW_WORTH_A_THREAD (1 << 18)

// How many of a row's key/value heads begin before `reads`, each reading `length` positions after the one before.
static int32_t heads_before(int64_t reads, int32_t length, int32_t heads) {
    const int64_t count = reads <= 0 ? 0 : (reads + length - 1) / length;
    return count < heads ? (int32_t)count : heads;
}

// Split by the positions that are read, not by rows: a causal prompt's last row costs as much as its first half dozen,
// and a row alone is split between its key/value heads. The boundaries follow from the lengths alone.
static void attention_part(void *context, mk_chunk chunk) {
    const attention_job *all = context;
    mk_attention job = all->job;
    job.scores += (size_t)chunk.thread * (size_t)all->scores_stride;
    const int64_t total = positions(&job, all->m) * job.kv_heads;
    const int64_t begin = total * chunk.index / chunk.count, end = total * (chunk.index + 1) / chunk.count;
    int64_t before = 0;
    for (int32_t row = 0; row < all->m && before < end; row++) {
        const int32_t length = job.rows[row].length;
        const int32_t first = heads_before(begin - before, length, job.kv_heads);
        const int32_t last = heads_before(end - before, length, job.kv_heads);
        if (first < last) attend(all->table, &job, row, first, last);
        before += (int64_t)length * job.kv_heads;
    }
}

void mk_run_attention(mk_pool *pool, const mk_table *table, mk_attention job, int32_t m, int32_t scores_stride) {
    attention_job all = {table, job, m, scores_stride};
    int64_t work = positions(&job, m) * job.heads * job.head_size * 2;
    const bool is_worth_it = m > 1 || work >= WORK_OF_A_ROW_WORTH_A_THREAD;
    mk_pool_run_work(is_worth_it ? pool : NULL, work, m * job.kv_heads, attention_part, &all);
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
    mk_range rows = mk_range_of(job->shape->out_height, chunk, 1);
    job->table->depthwise(job->shape, job->x, job->w, job->bias, rows.begin, rows.end, job->y);
}

void mk_run_depthwise(mk_pool *pool, const mk_table *table, const mk_depthwise *shape, const float *x, const float *w,
                      const float *bias, float *y) {
    depthwise_job job = {table, shape, x, w, bias, y};
    mk_pool_run_work(pool, work_of(shape), shape->out_height, depthwise_part, &job);
}
