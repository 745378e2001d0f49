#ifndef CALLOCATIONS_H
#define CALLOCATIONS_H

/* Begins to count what the calling thread allocates. */
void allocations_begin(void);

/* Ends that; returns how many times memory was asked for since `allocations_begin`. */
long allocations_end(void);

#endif
