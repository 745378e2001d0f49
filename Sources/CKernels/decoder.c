// Decoder operations on ragged batches: rotary embedding with cache update, and the visual memory.
//
// Both split by rows: what a row holds afterwards depends on that row alone, so neither the neighbours in the batch nor
// the number of threads can change a byte.
#pragma STDC FP_CONTRACT OFF

#include "CKernelsDecoder.h"

#include <math.h>
#include <string.h>

// Fewer multiplications than this are done by the caller alone: waking the pool would cost more.
static const int64_t WORTH_WAKING = 200000;

static void run(mk_pool *pool, bool alone, void (*body)(void *, int32_t, int32_t), void *context) {
    if (alone) {
        body(context, 0, 1);
    } else {
        mk_pool_run(pool, body, context);
    }
}

static int32_t share(int32_t count, int32_t part, int32_t parts) { return (int32_t)((int64_t)count * part / parts); }

// ---- Rotary embedding and cache --------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    float *qkv;
    int32_t stride, m;
    const mk_token_row *rows;
    int32_t layer, heads, kv_heads, head_size;
    const float *cosines, *sines;
    mk_attention_row *attention_rows;
} rotate_job;

static void rotate_rows(void *context, int32_t part, int32_t parts) {
    const rotate_job *job = context;
    const size_t half = (size_t)job->head_size / 2;
    const size_t width = (size_t)job->kv_heads * job->head_size;
    for (int32_t m = share(job->m, part, parts); m < share(job->m, part + 1, parts); m++) {
        const mk_token_row *row = &job->rows[m];
        const float *cosines = job->cosines + (size_t)row->position * half;
        const float *sines = job->sines + (size_t)row->position * half;
        float *query = job->qkv + (size_t)m * job->stride;
        float *key = query + (size_t)job->heads * job->head_size;
        float *value = key + width;
        job->table->rope(query, job->heads, job->head_size, cosines, sines);
        job->table->rope(key, job->kv_heads, job->head_size, cosines, sines);
        float *keys = row->cache + (size_t)job->layer * 2 * row->capacity * width;
        float *values = keys + (size_t)row->capacity * width;
        memcpy(keys + (size_t)row->position * width, key, width * sizeof(float));
        memcpy(values + (size_t)row->position * width, value, width * sizeof(float));
        job->attention_rows[m] = (mk_attention_row){.keys = keys, .values = values, .length = row->position + 1};
    }
}

void mk_run_rotate_and_store(mk_pool *pool, const mk_table *table, float *qkv, int32_t stride, int32_t m,
                             const mk_token_row *rows, int32_t layer, int32_t heads, int32_t kv_heads,
                             int32_t head_size, const float *cosines, const float *sines,
                             mk_attention_row *attention_rows) {
    rotate_job job = {table,    qkv,       stride,  m,     rows,          layer, heads,
                      kv_heads, head_size, cosines, sines, attention_rows};
    run(pool, (int64_t)m * stride * 8 < WORTH_WAKING, rotate_rows, &job);
}

// ---- Two-plane activations -------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    const float *x;
    int32_t x_stride, m;
    float *residual;
    int32_t residual_stride;
    mk_activations_i8 *out;
} planes_job;

static mk_activations_i8 rows_from(const mk_activations_i8 *x, int32_t first, int32_t columns);

static void quantize_planes(void *context, int32_t part, int32_t parts) {
    const planes_job *job = context;
    const int32_t columns = job->out->columns;
    float *residual = job->residual + (size_t)part * job->residual_stride;
    for (int32_t m = share(job->m, part, parts); m < share(job->m, part + 1, parts); m++) {
        const float *x = job->x + (size_t)m * job->x_stride;
        mk_activations_i8 coarse = rows_from(job->out, 2 * m, columns);
        mk_activations_i8 fine = rows_from(job->out, 2 * m + 1, columns);
        job->table->quantize_rows(x, job->x_stride, 0, 1, &coarse);
        const float inverse = 1.0f / coarse.scales[0];
        for (int32_t k = 0; k < columns; k++) residual[k] = x[k] * inverse - (float)coarse.values[k];
        job->table->quantize_rows_with_scale(residual, job->residual_stride, 0, 1, coarse.scales[0] / 254.0f, 254.0f,
                                             &fine);
    }
}

void mk_run_quantize_two_planes(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride, int32_t m,
                                float *residual, int32_t residual_stride, mk_activations_i8 *out) {
    planes_job job = {table, x, x_stride, m, residual, residual_stride, out};
    run(pool, m < 2 || (int64_t)m * out->columns * 8 < WORTH_WAKING, quantize_planes, &job);
}

typedef struct {
    const float *products;
    int32_t products_stride, m, columns;
    const float *bias;
    bool accumulate;
    float *y;
    int32_t y_stride;
} join_job;

static void join_rows(void *context, int32_t part, int32_t parts) {
    const join_job *job = context;
    for (int32_t m = share(job->m, part, parts); m < share(job->m, part + 1, parts); m++) {
        const float *coarse = job->products + (size_t)2 * m * job->products_stride;
        const float *fine = coarse + job->products_stride;
        float *y = job->y + (size_t)m * job->y_stride;
        if (job->accumulate) {
            for (int32_t n = 0; n < job->columns; n++) y[n] += coarse[n] + fine[n];
        } else {
            for (int32_t n = 0; n < job->columns; n++) y[n] = coarse[n] + fine[n];
        }
        if (job->bias) {
            for (int32_t n = 0; n < job->columns; n++) y[n] += job->bias[n];
        }
    }
}

void mk_run_join_planes(mk_pool *pool, const float *products, int32_t products_stride, int32_t m, int32_t columns,
                        const float *bias, bool accumulate, float *y, int32_t y_stride) {
    join_job job = {products, products_stride, m, columns, bias, accumulate, y, y_stride};
    run(pool, m < 2 || (int64_t)m * columns * 4 < WORTH_WAKING, join_rows, &job);
}

// ---- Visual memory ---------------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    const mk_activations_i8 *x;
    int32_t planes;
    const float *x_f32;
    int32_t x_stride;
    const mk_memory_group *groups;
    int32_t group_count, m;
    float *scores;
    int32_t scores_stride;
    mk_activations_i8 *activated;
    float *y;
    int32_t y_stride;
} memory_job;

static mk_activations_i8 rows_from(const mk_activations_i8 *x, int32_t first, int32_t columns) {
    return (mk_activations_i8){.values = x->values + (size_t)first * x->stride,
                               .scales = x->scales + first,
                               .sums = x->sums + first,
                               .columns = columns,
                               .stride = x->stride};
}

static int32_t panels(int32_t rows) { return (rows + MK_PANEL - 1) / MK_PANEL; }

static void memory_rows_i8(const memory_job *job, const mk_memory_group *group, int32_t begin, int32_t end) {
    const mk_epilogue plain = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = false};
    const mk_epilogue add = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = true};
    const int32_t slots = group->keys_i8.rows, width = group->values_i8.rows;
    const int32_t planes = job->planes;
    float *scores = job->scores + (size_t)planes * begin * job->scores_stride;
    mk_activations_i8 x = rows_from(job->x, planes * begin, group->keys_i8.columns);
    mk_activations_i8 activated = rows_from(job->activated, begin, slots);
    job->table->matmul_i8(&x, planes * (end - begin), &group->keys_i8, 0, panels(slots), scores, job->scores_stride,
                          plain);
    if (planes == 2) {
        // In place: row m is written after rows 2 m and 2 m + 1 were read, and m <= 2 m.
        join_job join = {scores, job->scores_stride, end - begin, slots, NULL, false, scores, job->scores_stride};
        join_rows(&join, 0, 1);
    }
    for (int32_t m = 0; m < end - begin; m++) {
        job->table->silu(scores + (size_t)m * job->scores_stride, (size_t)slots);
    }
    job->table->quantize_rows(scores, job->scores_stride, 0, end - begin, &activated);
    job->table->matmul_i8(&activated, end - begin, &group->values_i8, 0, panels(width),
                          job->y + (size_t)begin * job->y_stride, job->y_stride, add);
}

static void memory_rows_f32(const memory_job *job, const mk_memory_group *group, int32_t begin, int32_t end) {
    const mk_epilogue plain = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = false};
    const mk_epilogue add = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = true};
    const int32_t slots = group->keys_f32.rows, width = group->values_f32.rows;
    float *scores = job->scores + (size_t)begin * job->scores_stride;
    job->table->matmul_f32(job->x_f32 + (size_t)begin * job->x_stride, job->x_stride, end - begin, &group->keys_f32, 0,
                           panels(slots), scores, job->scores_stride, plain);
    for (int32_t m = 0; m < end - begin; m++) {
        job->table->silu(scores + (size_t)m * job->scores_stride, (size_t)slots);
    }
    job->table->matmul_f32(scores, job->scores_stride, end - begin, &group->values_f32, 0, panels(width),
                           job->y + (size_t)begin * job->y_stride, job->y_stride, add);
}

static void memory_part(void *context, int32_t part, int32_t parts) {
    const memory_job *job = context;
    const int32_t first = share(job->m, part, parts), last = share(job->m, part + 1, parts);
    for (int32_t g = 0; g < job->group_count; g++) {
        const mk_memory_group *group = &job->groups[g];
        const int32_t begin = group->begin > first ? group->begin : first;
        const int32_t end = group->end < last ? group->end : last;
        if (begin >= end) continue;
        if (job->x != NULL) {
            memory_rows_i8(job, group, begin, end);
        } else {
            memory_rows_f32(job, group, begin, end);
        }
    }
}

static bool memory_alone(const mk_memory_group *groups, int32_t count) {
    int64_t work = 0;
    for (int32_t g = 0; g < count; g++) {
        const int64_t slots = groups[g].keys_i8.rows, width = groups[g].keys_i8.columns;
        work += 2 * (groups[g].end - groups[g].begin) * slots * width;
    }
    return work < WORTH_WAKING;
}

void mk_run_memory_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t planes,
                      const mk_memory_group *groups, int32_t group_count, float *scores, int32_t scores_stride, mk_activations_i8 *activated, float *y,
                      int32_t y_stride) {
    if (group_count == 0) return;
    memory_job job = {.table = table,
                      .x = x,
                      .planes = planes,
                      .groups = groups,
                      .group_count = group_count,
                      .m = groups[group_count - 1].end,
                      .scores = scores,
                      .scores_stride = scores_stride,
                      .activated = activated,
                      .y = y,
                      .y_stride = y_stride};
    run(pool, memory_alone(groups, group_count), memory_part, &job);
}

void mk_run_memory_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                       const mk_memory_group *groups, int32_t group_count, float *scores, int32_t scores_stride, float *y,
                       int32_t y_stride) {
    if (group_count == 0) return;
    memory_job job = {.table = table,
                      .x_f32 = x,
                      .x_stride = x_stride,
                      .groups = groups,
                      .group_count = group_count,
                      .m = groups[group_count - 1].end,
                      .scores = scores,
                      .scores_stride = scores_stride,
                      .y = y,
                      .y_stride = y_stride};
    run(pool, memory_alone(groups, group_count), memory_part, &job);
}
