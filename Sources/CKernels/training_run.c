// Training operations split over a pool: a split decides only who computes an output, never how.
#include "pool.h"
#include "training.h"

static const mk_training_table *training(const mk_table *table) {
#if defined(__x86_64__)
    if (table->path == MK_AVX512VNNI) return &mk_avx512_training_table;
    if (table->path == MK_AVX2) return &mk_avx2_training_table;
#endif
    (void)table;
    return &mk_portable_training_table;
}

// ---- Products --------------------------------------------------------------------------------------------------

// Columns of one product that one thread takes at a time.
#define BLOCK 64

typedef struct {
    const mk_training_table *table;
    const mk_product *products;
    int32_t count, blocks;
} products_job;

static void products_part(void *context, mk_chunk chunk) {
    const products_job *job = context;
    const int32_t units = job->count * job->blocks;
    const mk_range range = mk_range_of(units, chunk, 1);
    for (int32_t unit = range.begin; unit < range.end; unit++) {
        const mk_product *product = &job->products[unit / job->blocks];
        const int32_t begin = unit % job->blocks * BLOCK;
        if (begin >= product->n) continue;
        job->table->product(product, begin, begin + BLOCK < product->n ? begin + BLOCK : product->n);
    }
}

void mk_run_products(mk_pool *pool, const mk_table *table, const mk_product *products, int32_t count) {
    int64_t work = 0;
    int32_t widest = 0;
    for (int32_t i = 0; i < count; i++) {
        work += (int64_t)products[i].m * products[i].n * products[i].k;
        if (products[i].n > widest) widest = products[i].n;
    }
    products_job job = {training(table), products, count, (widest + BLOCK - 1) / BLOCK};
    mk_pool_run_work(pool, work, job.count * job.blocks, products_part, &job);
}

// ---- Rows ------------------------------------------------------------------------------------------------------

// What the row operations need; unused fields stay zero.
typedef struct {
    const mk_training_table *table;
    const float *x, *dy, *weight;
    float *y;
    int32_t x_stride, dy_stride, y_stride, columns, m;
    float epsilon;
    const int32_t *targets;
    double *losses;
} rows_job;

#define ROWS(name, call)                                                                                               \
    static void name##_part(void *context, mk_chunk chunk) {                                                           \
        const rows_job *job = context;                                                                                 \
        const mk_range rows = mk_range_of(job->m, chunk, 1);                                                           \
        for (int32_t i = rows.begin; i < rows.end; i++) {                                                              \
            const float *x = job->x + (size_t)i * job->x_stride, *dy = job->dy + (size_t)i * job->dy_stride;           \
            float *y = job->y + (size_t)i * job->y_stride;                                                             \
            (void)dy;                                                                                                  \
            call;                                                                                                      \
        }                                                                                                              \
    }

ROWS(scale_columns, job->table->scale_columns(x, job->columns, job->weight, y))
ROWS(rms_norm_gradient, job->table->rms_norm_gradient(x, job->weight, job->columns, job->epsilon, dy, y))
ROWS(swiglu_gradient, job->table->swiglu_gradient(x, job->columns, dy, job->weight, y))
ROWS(silu_row, job->table->silu_row(x, job->columns, y))
ROWS(silu_gradient, job->table->silu_gradient(x, job->columns, dy, y))
ROWS(quick_gelu_gradient, job->table->quick_gelu_gradient(x, job->columns, dy, y))
ROWS(gelu_gradient, job->table->gelu_gradient(x, job->columns, dy, y))
ROWS(layer_norm_gradient, job->table->layer_norm_gradient(x, job->weight, job->columns, job->epsilon, dy, y))

static int64_t work_of(const rows_job *job) { return (int64_t)job->m * job->columns * MK_WORK_OF_AN_ELEMENT; }

// Runs `part` on m rows; the weight is a norm's or the scales, where the kernel has one.
static void run_rows(mk_pool *pool, void (*part)(void *job, mk_chunk chunk), const mk_table *table, const float *x,
                     int32_t x_stride, const float *weight, float epsilon, int32_t columns, int32_t m, const float *dy,
                     int32_t dy_stride, float *y, int32_t y_stride) {
    rows_job job = {.table = training(table), .x = x, .x_stride = x_stride, .dy = dy, .dy_stride = dy_stride,
                    .weight = weight, .y = y, .y_stride = y_stride, .columns = columns, .m = m, .epsilon = epsilon};
    mk_pool_run_work(pool, work_of(&job), m, part, &job);
}

void mk_run_scale_columns(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                          int32_t columns, const float *scales, float *y, int32_t y_stride) {
    run_rows(pool, scale_columns_part, table, x, x_stride, scales, 0, columns, m, x, 0, y, y_stride);
}

void mk_run_rms_norm_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                              const float *weight, int32_t columns, float epsilon, int32_t m, const float *dy,
                              int32_t dy_stride, float *dx, int32_t dx_stride) {
    run_rows(pool, rms_norm_gradient_part, table, x, x_stride, weight, epsilon, columns, m, dy, dy_stride, dx,
             dx_stride);
}

void mk_run_swiglu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t panels,
                            int32_t m, const float *dy, int32_t dy_stride, const float *scales, float *dx,
                            int32_t dx_stride) {
    rows_job job = {.table = training(table), .x = x, .x_stride = x_stride, .dy = dy, .dy_stride = dy_stride,
                    .weight = scales, .y = dx, .y_stride = dx_stride, .columns = panels, .m = m};
    mk_pool_run_work(pool, work_of(&job) * 32, m, swiglu_gradient_part, &job);
}

void mk_run_silu_rows(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t columns,
                      int32_t m, float *y, int32_t y_stride) {
    run_rows(pool, silu_row_part, table, x, x_stride, NULL, 0, columns, m, x, 0, y, y_stride);
}

void mk_run_silu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t columns,
                          int32_t m, const float *dy, int32_t dy_stride, float *dx, int32_t dx_stride) {
    run_rows(pool, silu_gradient_part, table, x, x_stride, NULL, 0, columns, m, dy, dy_stride, dx, dx_stride);
}

void mk_run_quick_gelu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                                int32_t columns, int32_t m, const float *dy, int32_t dy_stride, float *dx,
                                int32_t dx_stride) {
    run_rows(pool, quick_gelu_gradient_part, table, x, x_stride, NULL, 0, columns, m, dy, dy_stride, dx, dx_stride);
}

void mk_run_gelu_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t columns,
                          int32_t m, const float *dy, int32_t dy_stride, float *dx, int32_t dx_stride) {
    run_rows(pool, gelu_gradient_part, table, x, x_stride, NULL, 0, columns, m, dy, dy_stride, dx, dx_stride);
}

void mk_run_layer_norm_gradient(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                                const float *weight, int32_t columns, float epsilon, int32_t m, const float *dy,
                                int32_t dy_stride, float *dx, int32_t dx_stride) {
    run_rows(pool, layer_norm_gradient_part, table, x, x_stride, weight, epsilon, columns, m, dy, dy_stride, dx,
             dx_stride);
}

static void cross_entropy_part(void *context, mk_chunk chunk) {
    const rows_job *job = context;
    const mk_range rows = mk_range_of(job->m, chunk, 1);
    for (int32_t i = rows.begin; i < rows.end; i++) {
        job->losses[i] = job->table->cross_entropy(job->y + (size_t)i * job->y_stride, job->columns, job->targets[i],
                                                   job->dy[i], job->weight);
    }
}

void mk_run_cross_entropy(mk_pool *pool, const mk_table *table, float *logits, int32_t stride, int32_t columns,
                          int32_t m, const int32_t *targets, const float *weights, const float *scales, double *losses) {
    rows_job job = {.table = training(table), .dy = weights, .weight = scales, .y = logits, .y_stride = stride,
                    .columns = columns, .m = m, .targets = targets, .losses = losses};
    mk_pool_run_work(pool, work_of(&job), m, cross_entropy_part, &job);
}

static void round_rows_part(void *context, mk_chunk chunk) {
    const rows_job *job = context;
    const mk_range rows = mk_range_of(job->m, chunk, 1);
    for (int32_t i = rows.begin; i < rows.end; i++) {
        float *row = job->y + (size_t)i * job->y_stride;
        const mk_scaling scaling = mk_scaling_of(mk_max_abs(row, (size_t)job->columns));
        for (int32_t j = 0; j < job->columns; j++) row[j] = (float)mk_round_i8(row[j] * scaling.inverse) * scaling.scale;
    }
}

void mk_run_round_rows(mk_pool *pool, float *x, int32_t x_stride, int32_t columns, int32_t m) {
    rows_job job = {.y = x, .y_stride = x_stride, .columns = columns, .m = m};
    mk_pool_run_work(pool, work_of(&job), m, round_rows_part, &job);
}

static void transpose_part(void *context, mk_chunk chunk) {
    const rows_job *job = context;
    const mk_range columns = mk_range_of(job->columns, chunk, 1);
    for (int32_t j = columns.begin; j < columns.end; j++) {
        float *y = job->y + (size_t)j * job->y_stride;
        for (int32_t i = 0; i < job->m; i++) y[i] = job->x[(size_t)i * job->x_stride + j];
    }
}

void mk_run_transpose(mk_pool *pool, const float *x, int32_t x_stride, int32_t rows, int32_t columns, float *y,
                      int32_t y_stride) {
    rows_job job = {.x = x, .x_stride = x_stride, .y = y, .y_stride = y_stride, .columns = columns, .m = rows};
    mk_pool_run_work(pool, work_of(&job), columns, transpose_part, &job);
}

// ---- Attention -------------------------------------------------------------------------------------------------

typedef struct {
    const mk_training_table *table;
    const mk_attention_gradient *job;
} attention_job;

// The inverse of a rotation is the rotation by the negative angle.
static void unrotate(const mk_attention_gradient *job, const mk_sequence *sequence) {
    const int32_t half = job->head_size / 2;
    for (int32_t row = sequence->begin; row < sequence->end; row++) {
        const float *cosines = job->cosines + (size_t)(row - sequence->begin) * half;
        const float *sines = job->sines + (size_t)(row - sequence->begin) * half;
        float *x = job->qkv_gradient + (size_t)row * job->qkv_stride;
        for (int32_t head = 0; head < job->heads + job->kv_heads; head++, x += job->head_size) {
            for (int32_t i = 0; i < half; i++) {
                const float a = x[2 * i], b = x[2 * i + 1];
                x[2 * i] = a * cosines[i] + b * sines[i];
                x[2 * i + 1] = b * cosines[i] - a * sines[i];
            }
        }
    }
}

// A thread takes whole sequences: the heads of a group add to the same keys and values.
static void attention_part(void *context, mk_chunk chunk) {
    const attention_job *part = context;
    const mk_attention_gradient *job = part->job;
    float *scratch = job->scratch + (size_t)chunk.thread * job->scratch_stride;
    const mk_range sequences = mk_range_of(job->sequence_count, chunk, 1);
    for (int32_t s = sequences.begin; s < sequences.end; s++) {
        const mk_sequence *sequence = &job->sequences[s];
        memset(job->qkv_gradient + (size_t)sequence->begin * job->qkv_stride, 0,
               (size_t)(sequence->end - sequence->begin) * job->qkv_stride * sizeof(float));
        for (int32_t head = 0; head < job->heads; head++) part->table->attention_gradient(job, sequence, head, scratch);
        if (job->cosines != NULL) unrotate(job, sequence);
    }
}

void mk_run_attention_gradient(mk_pool *pool, const mk_table *table, mk_attention_gradient job) {
    attention_job context = {training(table), &job};
    int64_t work = 0;
    for (int32_t s = 0; s < job.sequence_count; s++) {
        const int64_t length = job.sequences[s].end - job.sequences[s].begin;
        work += 5 * length * length * job.heads * job.head_size;
    }
    mk_pool_run_work(pool, work, job.sequence_count, attention_part, &context);
}

// ---- Stored features -------------------------------------------------------------------------------------------

// IEEE 754 half to single: the exponent is moved by 112 with a multiplication, which also normalises subnormals.
void mk_expand_half(const uint16_t *x, size_t count, float *y) {
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = x[i];
        const float magnitude = mk_float_of_bits((bits & 0x7fffu) << 13) * 0x1p112f;
        y[i] = mk_float_of_bits(mk_bits_of_float(magnitude) | (bits & 0x8000u) << 16);
    }
}
