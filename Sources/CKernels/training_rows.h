// Training kernels in the compiler's vectors of MK_LANES floats, compiled once a path: include after opening the path's
// target attribute, with MK_T(name) giving the path's names, MK_TILE_ROWS and MK_TILE_VECTORS the register tile of a product.
// Contraction is on: the compiler makes fma of a * b + c where the path has it.
#pragma STDC FP_CONTRACT ON

typedef float MK_T(floats) __attribute__((vector_size(4 * MK_LANES)));
typedef int32_t MK_T(integers) __attribute__((vector_size(4 * MK_LANES)));
#define V MK_T(floats)
#define I MK_T(integers)
#define INLINE static inline __attribute__((always_inline))

INLINE V MK_T(load)(const float *x) {
    V v;
    memcpy(&v, x, sizeof v);
    return v;
}
INLINE void MK_T(store)(float *x, V v) { memcpy(x, &v, sizeof v); }
INLINE V MK_T(all)(float x) { return x - (V){0}; }  // not a sum: 0 + -0 is +0
INLINE V MK_T(select)(I mask, V yes, V no) { return (V)((mask & (I)yes) | (~mask & (I)no)); }
INLINE float MK_T(sum)(V v) {
    float s[MK_LANES];
    memcpy(s, &v, sizeof s);
    for (int32_t half = MK_LANES / 2; half > 0; half /= 2) {
        for (int32_t i = 0; i < half; i++) s[i] += s[i + half];
    }
    return s[0];
}

// exp(x) for x <= 0; see exponential.h.
INLINE V MK_T(exponential)(V x) {
    V lowest = MK_T(all)(MK_EXP_LOWEST);
    V clamped = MK_T(select)(x < lowest, lowest, x);
    V rounded = clamped * MK_LOG2_E + MK_ROUNDER;
    V n = rounded - MK_ROUNDER;
    V r = (clamped - n * MK_LN2_HIGH) - n * MK_LN2_LOW;
    V p = MK_T(all)(MK_EXP_C6);
    p = p * r + MK_EXP_C5;
    p = p * r + MK_EXP_C4;
    p = p * r + MK_EXP_C3;
    p = p * r + MK_EXP_C2;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    V power = (V)(((I)rounded << 23) + 0x3f800000);
    return (V)((I)(p * power) & ~(x < lowest));
}

// q = 1 / (1 + exp(-x)), the exponential taken of -|x|.
INLINE V MK_T(logistic)(V x) {
    V z = MK_T(exponential)((V)((I)x | INT32_MIN));
    return MK_T(select)(x < 0.0f, z, MK_T(all)(1.0f)) / (1.0f + z);
}

// ---- Products --------------------------------------------------------------------------------------------------

// `rows` rows and `vectors` vectors of C in registers while k runs upwards: one accumulator an output.
INLINE void MK_T(tile)(const mk_product *p, int32_t i, int32_t j, int32_t rows, int32_t vectors) {
    V sums[MK_TILE_ROWS][MK_TILE_VECTORS];
    for (int32_t r = 0; r < rows; r++) {
        for (int32_t v = 0; v < vectors; v++) sums[r][v] = (V){0};
    }
    const float *a = p->a + (size_t)i * p->a_row, *b = p->b + j;
    for (int32_t k = 0; k < p->k; k++, a += p->a_column, b += p->b_row) {
        V columns[MK_TILE_VECTORS];
        for (int32_t v = 0; v < vectors; v++) columns[v] = MK_T(load)(b + MK_LANES * v);
        for (int32_t r = 0; r < rows; r++) {
            V x = MK_T(all)(a[(size_t)r * p->a_row]);
            for (int32_t v = 0; v < vectors; v++) sums[r][v] += x * columns[v];
        }
    }
    for (int32_t r = 0; r < rows; r++) {
        float *c = p->c + (size_t)(i + r) * p->c_row + j;
        for (int32_t v = 0; v < vectors; v++) {
            V old = p->accumulate ? MK_T(load)(c + MK_LANES * v) : (V){0};
            MK_T(store)(c + MK_LANES * v, old + sums[r][v]);
        }
    }
}

// Rows that are left when m is no multiple of the tile.
#define MK_REST(count)                                                                                                 \
    case count:                                                                                                        \
        if (wide) {                                                                                                    \
            MK_T(tile)(p, i, j, count, MK_TILE_VECTORS);                                                               \
        } else {                                                                                                       \
            MK_T(tile)(p, i, j, count, 1);                                                                             \
        }                                                                                                              \
        break;

static void MK_T(product)(const mk_product *p, int32_t begin, int32_t end) {
    for (int32_t j = begin; j < end;) {
        const bool wide = end - j >= MK_LANES * MK_TILE_VECTORS;
        int32_t i = 0;
        for (; i + MK_TILE_ROWS <= p->m; i += MK_TILE_ROWS) {
            if (wide) {
                MK_T(tile)(p, i, j, MK_TILE_ROWS, MK_TILE_VECTORS);
            } else {
                MK_T(tile)(p, i, j, MK_TILE_ROWS, 1);
            }
        }
        switch (p->m - i) {
            MK_REST(1)
            MK_REST(2)
            MK_REST(3)
#if MK_TILE_ROWS > 4
            MK_REST(4)
            MK_REST(5)
#endif
#if MK_TILE_ROWS > 6
            MK_REST(6)
            MK_REST(7)
#endif
        }
        j += wide ? MK_LANES * MK_TILE_VECTORS : MK_LANES;
    }
}
#undef MK_REST

// ---- Rows ------------------------------------------------------------------------------------------------------

static void MK_T(scale_columns)(const float *x, int32_t columns, const float *scales, float *y) {
    for (int32_t i = 0; i < columns; i++) y[i] = x[i] * scales[i];
}

static void MK_T(rms_norm_gradient)(const float *x, const float *weight, int32_t columns, float epsilon, const float *dy,
                                    float *dx) {
    V squares = {0}, products = {0};
    int32_t i = 0;
    for (; i + MK_LANES <= columns; i += MK_LANES) {
        V xs = MK_T(load)(x + i);
        squares += xs * xs;
        products += MK_T(load)(weight + i) * MK_T(load)(dy + i) * xs;
    }
    float square = MK_T(sum)(squares), product = MK_T(sum)(products);
    for (int32_t t = i; t < columns; t++) {
        square += x[t] * x[t];
        product += weight[t] * dy[t] * x[t];
    }
    const float r = 1.0f / sqrtf(square / (float)columns + epsilon);
    const float pull = r * r * (product / (float)columns);
    for (i = 0; i < columns; i++) dx[i] += r * (weight[i] * dy[i] - x[i] * pull);
}

static void MK_T(swiglu_gradient)(const float *x, int32_t panels, const float *dy, const float *scales, float *dx) {
    for (int32_t i = 0; i < 16 * panels; i += MK_LANES) {
        const int32_t at = i / 16 * 32 + i % 16;  // gate here, up 16 further
        V gate = MK_T(load)(x + at), up = MK_T(load)(x + at + 16), d = MK_T(load)(dy + i);
        V q = MK_T(logistic)(gate);
        V d_gate = d * up * (q * (1.0f + gate * (1.0f - q))), d_up = d * (gate * q);
        if (scales != NULL) {
            d_gate *= MK_T(load)(scales + at);
            d_up *= MK_T(load)(scales + at + 16);
        }
        MK_T(store)(dx + at, d_gate);
        MK_T(store)(dx + at + 16, d_up);
    }
}

static void MK_T(silu_row)(const float *x, int32_t columns, float *y) {
    for (int32_t i = 0; i < columns; i += MK_LANES) {
        V v = MK_T(load)(x + i);
        MK_T(store)(y + i, v * MK_T(logistic)(v));
    }
}

static void MK_T(silu_gradient)(const float *x, int32_t columns, const float *dy, float *dx) {
    for (int32_t i = 0; i < columns; i += MK_LANES) {
        V v = MK_T(load)(x + i), q = MK_T(logistic)(v);
        MK_T(store)(dx + i, MK_T(load)(dy + i) * (q * (1.0f + v * (1.0f - q))));
    }
}

static void MK_T(layer_norm_gradient)(const float *x, const float *weight, int32_t columns, float epsilon,
                                      const float *dy, float *dx) {
    double sum = 0, square = 0;
    for (int32_t i = 0; i < columns; i++) sum += x[i];
    const float mean = (float)(sum / columns);
    for (int32_t i = 0; i < columns; i++) square += (double)(x[i] - mean) * (x[i] - mean);
    const float r = 1.0f / sqrtf((float)(square / columns) + epsilon);
    double pull = 0, slope = 0;
    for (int32_t i = 0; i < columns; i++) {
        const float g = weight[i] * dy[i];
        pull += g;
        slope += (double)g * ((x[i] - mean) * r);
    }
    const float p = (float)(pull / columns), s = (float)(slope / columns);
    for (int32_t i = 0; i < columns; i++) dx[i] += r * (weight[i] * dy[i] - p - (x[i] - mean) * r * s);
}

static void MK_T(quick_gelu_gradient)(const float *x, int32_t columns, const float *dy, float *dx) {
    for (int32_t i = 0; i < columns; i += MK_LANES) {
        V v = MK_T(load)(x + i) * MK_QUICK_GELU, q = MK_T(logistic)(v);
        MK_T(store)(dx + i, MK_T(load)(dy + i) * (q * (1.0f + v * (1.0f - q))));
    }
}

static void MK_T(gelu_gradient)(const float *x, int32_t columns, const float *dy, float *dx) {
    for (int32_t i = 0; i < columns; i += MK_LANES) {
        V v = MK_T(load)(x + i), a = (V)((I)v & INT32_MAX), t = 1.0f / (1.0f + MK_NORMAL_P * a);
        V e = MK_T(exponential)(a * a * -0.5f);
        V p = MK_T(all)(MK_NORMAL_C8);
        p = p * t + MK_NORMAL_C7;
        p = p * t + MK_NORMAL_C6;
        p = p * t + MK_NORMAL_C5;
        p = p * t + MK_NORMAL_C4;
        p = p * t + MK_NORMAL_C3;
        p = p * t + MK_NORMAL_C2;
        p = p * t + MK_NORMAL_C1;
        p = p * t + MK_NORMAL_C0;
        V tail = e * t * p;  // Phi(-a)
        V phi = MK_T(select)(v < 0.0f, tail, 1.0f - tail);
        MK_T(store)(dx + i, MK_T(load)(dy + i) * (phi + v * (e * 0.39894228f)));
    }
}

// ---- Attention -------------------------------------------------------------------------------------------------

INLINE float MK_T(dot)(const float *x, const float *y, int32_t count) {
    V s = {0};
    for (int32_t i = 0; i < count; i += MK_LANES) s += MK_T(load)(x + i) * MK_T(load)(y + i);
    return MK_T(sum)(s);
}

INLINE void MK_T(add_scaled)(float *y, float factor, const float *x, int32_t count) {
    for (int32_t i = 0; i < count; i += MK_LANES) MK_T(store)(y + i, MK_T(load)(y + i) + factor * MK_T(load)(x + i));
}

// Probabilities of one head's query over the `seen` first keys, into p.
static void MK_T(probabilities)(const float *query, const float *keys, int32_t stride, int32_t seen, int32_t size,
                                float scale, float *p) {
    float maximum = -INFINITY, total = 0;
    for (int32_t t = 0; t < seen; t++) {
        p[t] = scale * MK_T(dot)(query, keys + (size_t)t * stride, size);
        maximum = p[t] > maximum ? p[t] : maximum;
    }
    for (int32_t t = 0; t < seen; t++) {
        p[t] = mk_exp_nonpositive(p[t] - maximum);
        total += p[t];
    }
    for (int32_t t = 0; t < seen; t++) p[t] /= total;
}

// One sequence and head: o = softmax(scale q k^T) v, so with P the softmax
//     dv += P^T do;  dP = do v^T;  dS = P (dP - rowsum(dP P));  dq = scale dS k;  dk += scale dS^T q.
static void MK_T(attention_gradient)(const mk_attention_gradient *job, const mk_sequence *sequence, int32_t head,
                                     float *scratch) {
    const int32_t size = job->head_size, stride = job->qkv_stride, begin = sequence->begin;
    const int32_t length = sequence->end - begin, shared = head / (job->heads / job->kv_heads);
    const size_t key = (size_t)(job->heads + shared) * size, value = key + (size_t)job->kv_heads * size;
    const float *rows = job->qkv + (size_t)begin * stride;
    float *gradients = job->qkv_gradient + (size_t)begin * stride;
    float *p = scratch, *dp = scratch + (length + 15) / 16 * 16;
    for (int32_t i = 0; i < length; i++) {
        const int32_t seen = sequence->bidirectional ? length : i + 1;
        const float *query = rows + (size_t)i * stride + (size_t)head * size;
        const float *d_out = job->out_gradient + (size_t)(begin + i) * job->out_stride + (size_t)head * size;
        float *d_query = gradients + (size_t)i * stride + (size_t)head * size;
        MK_T(probabilities)(query, rows + key, stride, seen, size, job->scale, p);
        float inner = 0;
        for (int32_t t = 0; t < seen; t++) {
            dp[t] = MK_T(dot)(d_out, rows + (size_t)t * stride + value, size);
            inner += dp[t] * p[t];
        }
        for (int32_t t = 0; t < seen; t++) {
            const float ds = job->scale * p[t] * (dp[t] - inner);
            MK_T(add_scaled)(gradients + (size_t)t * stride + value, p[t], d_out, size);
            MK_T(add_scaled)(gradients + (size_t)t * stride + key, ds, query, size);
            MK_T(add_scaled)(d_query, ds, rows + (size_t)t * stride + key, size);
        }
    }
}

// ---- Cross-entropy ---------------------------------------------------------------------------------------------

static double MK_T(cross_entropy)(float *logits, int32_t columns, int32_t target, float weight, const float *scales) {
    float maximum = -INFINITY;
    for (int32_t i = 0; i < columns; i++) maximum = logits[i] > maximum ? logits[i] : maximum;
    const float chosen = logits[target];
    V sums = {0};
    int32_t i = 0;
    double total = 0;
    for (; i + MK_LANES <= columns; i += MK_LANES) {
        V e = MK_T(exponential)(MK_T(load)(logits + i) - maximum);
        sums += e;
        MK_T(store)(logits + i, e);
        if (i % 4096 == 4096 - MK_LANES) {
            total += (double)MK_T(sum)(sums);
            sums = (V){0};
        }
    }
    total += (double)MK_T(sum)(sums);
    for (; i < columns; i++) {
        logits[i] = mk_exp_nonpositive(logits[i] - maximum);
        total += (double)logits[i];
    }
    const float factor = weight / (float)total;
    for (i = 0; i < columns; i++) logits[i] *= factor;
    if (scales != NULL) MK_T(scale_columns)(logits, columns, scales, logits);
    return mk_log(total) + (double)maximum - (double)chosen;
}

const mk_training_table MK_T(table) = {
    .product = MK_T(product),
    .scale_columns = MK_T(scale_columns),
    .rms_norm_gradient = MK_T(rms_norm_gradient),
    .swiglu_gradient = MK_T(swiglu_gradient),
    .silu_row = MK_T(silu_row),
    .silu_gradient = MK_T(silu_gradient),
    .layer_norm_gradient = MK_T(layer_norm_gradient),
    .quick_gelu_gradient = MK_T(quick_gelu_gradient),
    .gelu_gradient = MK_T(gelu_gradient),
    .attention_gradient = MK_T(attention_gradient),
    .cross_entropy = MK_T(cross_entropy),
};

#undef V
#undef I
#undef INLINE
