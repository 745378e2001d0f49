/*
 * CPNG: the part of libpng (1.6, Debian's libpng-dev) that Swift cannot call by itself.
 *
 * libpng reports errors by calling a function that must not return, so its caller has to setjmp/longjmp, which Swift
 * does not have. This is therefore a C target that links libpng, not a bare module map: only the plain functions
 * below are visible to Swift, and png.h is not.
 *
 * Invariants: no state outlives a call; nothing is written beyond a capacity given; no call prints, exits or keeps a
 * pointer; nothing but the pixels is ever decompressed. Every function may be called from several threads at once, on
 * different buffers.
 */
#ifndef CPNG_H
#define CPNG_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that `message` must hold, the closing zero included. */
#define CPNG_MESSAGE_CAPACITY 200
/* Bytes that hold any EXIF worth reading; a longer one is cut. */
#define CPNG_EXIF_CAPACITY 65536

/* How a call ended; everything but CPNG_OK comes with a message. */
enum cpng_status {
    CPNG_OK = 0,
    CPNG_TRUNCATED,   /* the data ends before the end chunk does */
    CPNG_CORRUPT,     /* the data breaks a rule of the format, a checksum for instance */
    CPNG_UNSUPPORTED, /* a critical chunk that the standard does not have */
    CPNG_MISUSE,      /* `capacity` does not fit the picture: a bug of the caller */
};

/*
 * Reads the chunks up to the first one with pixels; `width` and `height` are set as soon as they are known. No memory is
 * taken in proportion to them.
 */
enum cpng_status cpng_read_header(const uint8_t *data, size_t length, uint32_t *width, uint32_t *height,
                                  char *message);

/*
 * Decodes the whole picture to rows of interleaved RGB, and reads on to the end chunk. `capacity` must be exactly
 * 3 * width * height. Grey is repeated in three channels and stretched to 8 bits; of 16 bits the upper 8 are kept; an
 * alpha channel, a transparent colour, gamma and profiles have no effect. Of an animation this is the image that programs
 * without animation show. The first EXIF chunk, which may stand after the pixels, is copied to `exif`, and
 * `*exif_length` is 0 without one. On failure `rgb` holds no picture.
 */
enum cpng_status cpng_decode(const uint8_t *data, size_t length, uint8_t *rgb, size_t capacity, uint8_t *exif,
                             size_t exif_capacity, size_t *exif_length, char *message);

#endif
