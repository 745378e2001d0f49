// Which kernels this machine runs. One row a path; detection runs once, at the first question.
#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "paths.h"

#define MK_TABLE(which, title, short_name)                                                                             \
    {.path = which,                                                                                                    \
     .name = title,                                                                                                    \
     .matmul_i8 = mk_##short_name##_matmul_i8,                                                                         \
     .matmul_planes_i8 = mk_##short_name##_matmul_planes_i8,                                                           \
     .sums_i8 = mk_##short_name##_sums_i8,                                                                             \
     .matmul_f32 = mk_##short_name##_matmul_f32,                                                                       \
     .quantize_rows = mk_##short_name##_quantize_rows,                                                                 \
     .quantize_planes = mk_##short_name##_quantize_planes,                                                             \
     .quantize_rows_with_scale = mk_##short_name##_quantize_rows_with_scale,                                           \
     .max_abs = mk_##short_name##_max_abs,                                                                             \
     .rms_norm = mk_##short_name##_rms_norm,                                                                           \
     .rope = mk_##short_name##_rope,                                                                                   \
     .attention = mk_##short_name##_attention,                                                                         \
     .swiglu = mk_##short_name##_swiglu,                                                                               \
     .silu = mk_##short_name##_silu,                                                                                   \
     .layer_norm = mk_##short_name##_layer_norm,                                                                       \
     .gelu = mk_##short_name##_gelu,                                                                                   \
     .quick_gelu = mk_##short_name##_quick_gelu,                                                                       \
     .argmax_logsumexp = mk_##short_name##_argmax_logsumexp,                                                           \
     .row_i8 = mk_row_i8,                                                                                              \
     .row_f32 = mk_row_f32,                                                                                            \
     .depthwise = mk_##short_name##_depthwise}

static const mk_table scalar_table = MK_TABLE(MK_SCALAR, "scalar", scalar);

#if defined(__x86_64__)

static const mk_table avx2_table = MK_TABLE(MK_AVX2, "avx2", avx2);
static const mk_table avx512vnni_table = MK_TABLE(MK_AVX512VNNI, "avx512vnni", avx512vnni);

static uint64_t enabled_states(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

// What the processor has and the system saves across a switch of threads: bit `path` is set where the path can run.
static uint32_t detect(void) {
    uint32_t a, b, d, leaf1_c, leaf7_b, leaf7_c;
    uint32_t found = 1u << MK_SCALAR;
    if (!__get_cpuid(1, &a, &b, &leaf1_c, &d) || !__get_cpuid_count(7, 0, &a, &leaf7_b, &leaf7_c, &d)) return found;
    if (!(leaf1_c & bit_OSXSAVE)) return found;
    const uint64_t states = enabled_states(), ymm = 0x06, zmm = 0xe6;
    if ((states & ymm) == ymm && (leaf7_b & bit_AVX2) && (leaf1_c & bit_FMA)) found |= 1u << MK_AVX2;
    const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((states & zmm) == zmm && (leaf7_b & avx512) == avx512 && (leaf7_c & bit_AVX512VNNI)) {
        found |= 1u << MK_AVX512VNNI;
    }
    return found;
}

#elif defined(__aarch64__)

static const mk_table neon_table = MK_TABLE(MK_NEON, "neon", neon);

// NEON is part of every arm64 Linux.
static uint32_t detect(void) { return 1u << MK_SCALAR | 1u << MK_NEON; }

#else

static uint32_t detect(void) { return 1u << MK_SCALAR; }

#endif

static uint32_t available(void) {
    static _Atomic uint32_t cached;  // 0: not asked yet; every thread would find the same
    uint32_t found = atomic_load_explicit(&cached, memory_order_relaxed);
    if (found == 0) {
        found = detect();
        atomic_store_explicit(&cached, found, memory_order_relaxed);
    }
    return found;
}

const mk_table *mk_table_for(mk_path path) {
    if ((uint32_t)path > MK_NEON || !(available() >> path & 1)) return NULL;
    switch (path) {
    case MK_SCALAR:
        return &scalar_table;
#if defined(__x86_64__)
    case MK_AVX2:
        return &avx2_table;
    case MK_AVX512VNNI:
        return &avx512vnni_table;
#elif defined(__aarch64__)
    case MK_NEON:
        return &neon_table;
#endif
    default:
        return NULL;
    }
}

mk_path mk_best_path(void) {
    static const mk_path fastest_first[] = {MK_AVX512VNNI, MK_AVX2, MK_NEON};
    for (size_t i = 0; i < sizeof fastest_first / sizeof *fastest_first; i++) {
        if (available() >> fastest_first[i] & 1) return fastest_first[i];
    }
    return MK_SCALAR;
}
