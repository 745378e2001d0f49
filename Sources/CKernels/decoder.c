// Decoder operations on ragged batches: rotary embedding with cache update, and the visual memory.
//
// Both split by rows: what a row holds afterwards depends on that row alone, so neither the neighbours in the batch nor
// the number of threads can change a byte.
#pragma STDC FP_CONTRACT OFF

#include "CKernelsDecoder.h"
#include "pool.h"
#include "scalar.h"

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

static void rotate_rows(void *context, mk_chunk chunk) {
    const rotate_job *job = context;
    const mk_range rows = mk_range_of(job->m, chunk, 1);
    const size_t half = (size_t)job->head_size / 2;
    const size_t width = (size_t)job->kv_heads * job->head_size;
    for (int32_t m = rows.begin; m < rows.end; m++) {
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
    mk_pool_run_work(pool, (int64_t)m * stride * MK_WORK_OF_AN_ELEMENT, m, rotate_rows, &job);
}

// ---- Visual memory ---------------------------------------------------------------------------------------------

typedef struct {
    const mk_table *table;
    const mk_activations_i8 *x;  // NULL in float32
    int32_t planes;
    const float *x_f32;
    int32_t x_stride;
    const mk_memory_group *groups;
    int32_t group_count, m, grain;
    float *scores;
    int32_t scores_stride;
    mk_activations_i8 *activated;
    float *y;
    int32_t y_stride;
} memory_job;

static void memory_rows_i8(const memory_job *job, const mk_memory_group *group, int32_t begin, int32_t end) {
    const mk_epilogue plain = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = false};
    const mk_epilogue add = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = true};
    const mk_weights_i8 *keys = &group->keys_i8, *values = &group->values_i8;
    float *scores = job->scores + (size_t)begin * job->scores_stride;
    const mk_activations_i8 x = mk_rows_from(job->x, job->planes * begin);
    mk_activations_i8 activated = mk_rows_from(job->activated, begin);
    activated.columns = keys->rows;
    (job->planes == 2 ? job->table->matmul_planes_i8 : job->table->matmul_i8)(
        &x, end - begin, keys, 0, mk_panels(keys->rows), scores, job->scores_stride, plain);
    for (int32_t m = 0; m < end - begin; m++) {
        job->table->silu(scores + (size_t)m * job->scores_stride, (size_t)keys->rows);
    }
    job->table->quantize_rows(scores, job->scores_stride, 0, end - begin, &activated);
    job->table->matmul_i8(&activated, end - begin, values, 0, mk_panels(values->rows),
                          job->y + (size_t)begin * job->y_stride, job->y_stride, add);
}

static void memory_rows_f32(const memory_job *job, const mk_memory_group *group, int32_t begin, int32_t end) {
    const mk_epilogue plain = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = false};
    const mk_epilogue add = {.bias = NULL, .low = -INFINITY, .high = INFINITY, .accumulate = true};
    const mk_weights_f32 *keys = &group->keys_f32, *values = &group->values_f32;
    float *scores = job->scores + (size_t)begin * job->scores_stride;
    job->table->matmul_f32(job->x_f32 + (size_t)begin * job->x_stride, job->x_stride, end - begin, keys, 0,
                           mk_panels(keys->rows), scores, job->scores_stride, plain);
    for (int32_t m = 0; m < end - begin; m++) {
        job->table->silu(scores + (size_t)m * job->scores_stride, (size_t)keys->rows);
    }
    job->table->matmul_f32(scores, job->scores_stride, end - begin, values, 0, mk_panels(values->rows),
                           job->y + (size_t)begin * job->y_stride, job->y_stride, add);
}

static void memory_part(void *context, mk_chunk chunk) {
    const memory_job *job = context;
    const mk_range rows = mk_range_of(job->m, chunk, job->grain);
    for (int32_t g = 0; g < job->group_count; g++) {
        const mk_memory_group *group = &job->groups[g];
        const int32_t begin = mk_max_i32(group->begin, rows.begin), end = mk_min_i32(group->end, rows.end);
        if (begin >= end) continue;
        if (job->x != NULL) {
            memory_rows_i8(job, group, begin, end);
        } else {
            memory_rows_f32(job, group, begin, end);
        }
    }
}

// Rows in a chunk at least, where that many see one memory: two cost less than one and one, since both read the same.
#define MEMORY_GRAIN 2

static void run_memory(mk_pool *pool, memory_job *job) {
    if (job->group_count == 0) return;
    int64_t work = 0;
    for (int32_t g = 0; g < job->group_count; g++) {
        const mk_memory_group *group = &job->groups[g];
        const int64_t slots = job->x != NULL ? group->keys_i8.rows : group->keys_f32.rows;
        const int64_t width = job->x != NULL ? group->keys_i8.columns : group->keys_f32.columns;
        work += (job->planes + 1) * (group->end - group->begin) * slots * width;
    }
    job->m = job->groups[job->group_count - 1].end;
    job->grain = mk_max_i32(1, mk_min_i32(MEMORY_GRAIN, job->m / job->group_count));
    mk_pool_run_work(pool, work, mk_units(job->m, job->grain), memory_part, job);
}

void mk_run_memory_i8(mk_pool *pool, const mk_table *table, const mk_activations_i8 *x, int32_t planes,
                      const mk_memory_group *groups, int32_t group_count, float *scores, int32_t scores_stride,
                      mk_activations_i8 *activated, float *y, int32_t y_stride) {
    memory_job job = {.table = table,
                      .x = x,
                      .planes = planes,
                      .groups = groups,
                      .group_count = group_count,
                      .scores = scores,
                      .scores_stride = scores_stride,
                      .activated = activated,
                      .y = y,
                      .y_stride = y_stride};
    run_memory(pool, &job);
}

void mk_run_memory_f32(mk_pool *pool, const mk_table *table, const float *x, int32_t x_stride,
                       const mk_memory_group *groups, int32_t group_count, float *scores, int32_t scores_stride,
                       float *y, int32_t y_stride) {
    memory_job job = {.table = table,
                      .planes = 1,
                      .x_f32 = x,
                      .x_stride = x_stride,
                      .groups = groups,
                      .group_count = group_count,
                      .scores = scores,
                      .scores_stride = scores_stride,
                      .y = y,
                      .y_stride = y_stride};
    run_memory(pool, &job);
}
