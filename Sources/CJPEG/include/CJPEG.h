/*
 * CJPEG: the part of libjpeg (libjpeg-turbo 2.1, Debian's libjpeg-dev) that Swift cannot call by itself.
 *
 * libjpeg reports errors by calling a function that must not return, so its caller has to setjmp/longjmp, which Swift
 * does not have. This is therefore a C target that links libjpeg, not a bare module map: only the plain functions
 * below are visible to Swift, and jpeglib.h is not.
 *
 * Invariants: no state outlives a call; nothing is written beyond a capacity given; no call prints, exits or keeps a
 * pointer. Every function may be called from several threads at once, on different buffers.
 */
#ifndef CJPEG_H
#define CJPEG_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that `message` must hold, the closing zero included. */
#define CJPEG_MESSAGE_CAPACITY 200
/* Bytes that always hold the payload of one APP1 segment. */
#define CJPEG_EXIF_CAPACITY 65536

/* How a call ended; everything but CJPEG_OK comes with a message. */
enum cjpeg_status {
    CJPEG_OK = 0,
    CJPEG_TRUNCATED,   /* the data ends before the picture does */
    CJPEG_CORRUPT,     /* the data breaks a rule of the format; libjpeg would have shown something, possibly garbage */
    CJPEG_UNSUPPORTED, /* a process, precision or colour model that libjpeg or this wrapper does not decode */
    CJPEG_TOO_LARGE,   /* over libjpeg's side limit, or over the memory limit given */
    CJPEG_MISUSE,      /* `capacity` does not fit the picture, or there is no picture: a bug of the caller */
};

/* Warnings of libjpeg that leave every pixel as its writer meant it: bits of `*remarks`. */
enum cjpeg_remark {
    CJPEG_REMARK_JFIF_VERSION = 1,    /* a JFIF major version other than 1 (JWRN_JFIF_MAJOR) */
    CJPEG_REMARK_ADOBE_TRANSFORM = 2, /* an unknown Adobe transform, taken as YCbCr or YCCK (JWRN_ADOBE_XFORM) */
    CJPEG_REMARK_SCAN_PARAMETERS = 4, /* odd parameters of a sequential scan, unused there (JWRN_NOT_SEQUENTIAL) */
};

/* What stands before the first scan. */
struct cjpeg_header {
    uint32_t width;     /* columns as coded, before any EXIF orientation */
    uint32_t height;    /* rows as coded */
    size_t exif_length; /* bytes written to `exif`: what follows "Exif\0\0"; 0 without EXIF */
};

/* Bounds on the work that a picture may cause. */
struct cjpeg_limits {
    size_t memory; /* bytes of coefficients that libjpeg may hold (progressive and multi-scan pictures) */
    int scans;     /* scans in the file */
};

/*
 * Reads the markers up to the first scan. `width` and `height` are set as soon as they are known, also on
 * CJPEG_TOO_LARGE; the first EXIF segment is copied to `exif`.
 */
enum cjpeg_status cjpeg_read_header(const uint8_t *data, size_t length, struct cjpeg_header *header, uint8_t *exif,
                                    size_t exif_capacity, char *message);

/*
 * Decodes the whole picture, reduced by `denominator` (1, 2, 4 or 8), to rows of interleaved RGB. `capacity` must be
 * exactly 3 * ceil(width / denominator) * ceil(height / denominator). Grey is repeated in three channels; CMYK and YCCK
 * are taken as inverted, as Adobe writes them, and multiplied out. `*remarks` is set to cjpeg_remark bits. On failure
 * `rgb` holds no picture.
 */
enum cjpeg_status cjpeg_decode(const uint8_t *data, size_t length, int denominator, const struct cjpeg_limits *limits,
                               uint8_t *rgb, size_t capacity, uint32_t *remarks, char *message);

/*
 * Encodes rows of interleaved RGB as a baseline JPEG of `quality` (1 to 100, as libjpeg counts). `*length` of the
 * `capacity` bytes at `jpeg` are written; CJPEG_TOO_LARGE where more would be.
 */
enum cjpeg_status cjpeg_encode(const uint8_t *rgb, uint32_t width, uint32_t height, int quality, uint8_t *jpeg,
                               size_t capacity, size_t *length, char *message);

#endif
