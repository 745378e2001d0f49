// Stands before the C library's allocator in the test process and counts, for one thread at a time that asks for it. That a hot path
// allocates nothing is a fact, and this is what can see it.

#include "CAllocations.h"

#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Thread_local long count;
static _Thread_local int counts;

void allocations_begin(void) {
    count = 0;
    counts = 1;
}

long allocations_end(void) {
    counts = 0;
    return count;
}

void *malloc(size_t size) {
    count += counts;
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count += counts;
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count += counts;
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count += counts;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **found, size_t alignment, size_t size) {
    count += counts;
    void *memory = __libc_memalign(alignment, size);
    if (memory == NULL) return ENOMEM;
    *found = memory;
    return 0;
}
