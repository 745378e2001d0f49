/*
 * The calls of CPNG.h, over libpng.
 *
 * Invariant: libpng's objects and the jump buffer live in a `struct decoder` owned by the outer function of each call;
 * setjmp is called in an inner one, so that no automatic variable changes between setjmp and longjmp.
 * Failure modes: libpng's errors, and what it calls benign errors too, end the call: libpng would go on with
 * black or garbage where data is missing, and a damaged picture must never be described. Checksums of all chunks count.
 */
#include "CPNG.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

struct decoder {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    enum cpng_status status;
    char *message;
    const uint8_t *data; /* what is left to read */
    size_t length;
    size_t last_read; /* bytes that the last read took */
    size_t allowance; /* bytes that may be read before the call is taken for the victim of a bomb */
    uint8_t *exif;    /* NULL where nobody wants it */
    size_t exif_capacity;
    size_t exif_length;
};

/* Ends the call with `status`. */
_Noreturn static void escape(struct decoder *decoder, enum cpng_status status, const char *reason) {
    snprintf(decoder->message, CPNG_MESSAGE_CAPACITY, "%s", reason);
    decoder->status = status;
    longjmp(decoder->escape, 1);
}

/* Whether the last bytes read are the head of a chunk that is longer than what is left of the file. */
static bool ends_in_chunk(const struct decoder *decoder) {
    if (decoder->last_read != 8)
        return false;
    const uint8_t *head = decoder->data - 8;
    size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    return length > decoder->length;
}

_Noreturn static void on_error(png_structp png, png_const_charp reason) {
    struct decoder *decoder = png_get_error_ptr(png);
    escape(decoder, ends_in_chunk(decoder) ? CPNG_TRUNCATED : CPNG_CORRUPT, reason);
}

/* What is only a warning although benign errors are errors changes no pixel, or is followed by an error. */
static void on_warning(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void on_read(png_structp png, png_bytep target, size_t count) {
    struct decoder *decoder = png_get_io_ptr(png);
    if (count > decoder->length)
        escape(decoder, CPNG_TRUNCATED, "Premature end of file");
    if (count > decoder->allowance)
        escape(decoder, CPNG_CORRUPT, "More compressed data than the picture needs");
    memcpy(target, decoder->data, count);
    decoder->data += count;
    decoder->length -= count;
    decoder->allowance -= count;
    decoder->last_read = count;
}

/* Called with each chunk that libpng was told not to read by itself, its checksum verified. */
static int on_chunk(png_structp png, png_unknown_chunkp chunk) {
    struct decoder *decoder = png_get_user_chunk_ptr(png);
    if (!(chunk->name[0] & 0x20)) { /* an upper-case first letter: who does not know it cannot show the picture */
        char reason[64];
        snprintf(reason, sizeof reason, "Unknown critical chunk %02X %02X %02X %02X", chunk->name[0], chunk->name[1],
                 chunk->name[2], chunk->name[3]);
        escape(decoder, CPNG_UNSUPPORTED, reason);
    }
    if (decoder->exif && decoder->exif_length == 0 && memcmp(chunk->name, "eXIf", 4) == 0) {
        decoder->exif_length = chunk->size < decoder->exif_capacity ? chunk->size : decoder->exif_capacity;
        memcpy(decoder->exif, chunk->data, decoder->exif_length);
    }
    return 1; /* dealt with: nothing is kept */
}

static void prepare(struct decoder *decoder, const uint8_t *data, size_t length, char *message) {
    memset(decoder, 0, sizeof *decoder);
    message[0] = 0;
    decoder->message = message;
    decoder->data = data;
    decoder->length = length;
    decoder->allowance = SIZE_MAX;
}

/* Everything before the first chunk with pixels. */
static void read_chunks(struct decoder *decoder) {
    decoder->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, decoder, on_error, on_warning);
    if (!decoder->png)
        escape(decoder, CPNG_MISUSE, "libpng does not fit its header, or has no memory");
    png_structp png = decoder->png;
    decoder->info = png_create_info_struct(png);
    if (!decoder->info)
        escape(decoder, CPNG_MISUSE, "libpng has no memory");
    png_set_read_fn(png, decoder, on_read);
    png_set_benign_errors(png, 0);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* the caller has limits of its own */
    png_set_chunk_malloc_max(png, decoder->length); /* nothing is taken for a chunk that the file cannot hold */
    /* Ancillary chunks, compressed ones among them, are only seen by on_chunk; transparency is not asked for. */
    png_set_read_user_chunk_fn(png, decoder, on_chunk);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, (png_const_bytep) "tRNS", 1);
    png_read_info(png, decoder->info);
}

static void read_header(struct decoder *decoder) {
    if (setjmp(decoder->escape))
        return;
    read_chunks(decoder);
}

enum cpng_status cpng_read_header(const uint8_t *data, size_t length, uint32_t *width, uint32_t *height,
                                  char *message) {
    struct decoder decoder;
    prepare(&decoder, data, length, message);
    read_header(&decoder);
    *width = decoder.info ? png_get_image_width(decoder.png, decoder.info) : 0;
    *height = decoder.info ? png_get_image_height(decoder.png, decoder.info) : 0;
    png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
    return decoder.status;
}

/* Asks for one byte a pixel (grey, or a palette's index) or three (RGB); returns which. */
static size_t choose_channels(struct decoder *decoder) {
    png_structp png = decoder->png;
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    png_set_packing(png);
    int colour = png_get_color_type(png, decoder->info);
    if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, decoder->info) < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    return colour & PNG_COLOR_MASK_COLOR && colour != PNG_COLOR_TYPE_PALETTE ? 3 : 1;
}

/*
 * Once the last row is complete, libpng inflates whatever pixels are still to come, to throw them away: a small picture may
 * carry gigabytes. What the last row itself may take is bounded by its length and deflate's overhead.
 */
static void limit_last_row(struct decoder *decoder, size_t row) { decoder->allowance = 2 * row + 65536; }

/* Spreads one byte a pixel, standing in the last third of its row, to three. */
static void spread(struct decoder *decoder, uint8_t *row, size_t width) {
    png_colorp palette = NULL;
    int colours = 0;
    if (png_get_color_type(decoder->png, decoder->info) == PNG_COLOR_TYPE_PALETTE)
        png_get_PLTE(decoder->png, decoder->info, &palette, &colours);
    const uint8_t *bytes = row + 2 * width; /* each is read before its place is written over */
    for (size_t i = 0; i < width; i++, row += 3) {
        uint8_t value = bytes[i];
        if (!palette) {
            row[0] = row[1] = row[2] = value;
        } else if (value < colours) {
            row[0] = palette[value].red;
            row[1] = palette[value].green;
            row[2] = palette[value].blue;
        } else {
            escape(decoder, CPNG_CORRUPT, "A pixel has a colour that the palette does not have");
        }
    }
}

static void decode(struct decoder *decoder, uint8_t *rgb, size_t capacity) {
    if (setjmp(decoder->escape))
        return;
    read_chunks(decoder);
    png_structp png = decoder->png;
    size_t width = png_get_image_width(png, decoder->info), height = png_get_image_height(png, decoder->info);
    size_t coded = png_get_rowbytes(png, decoder->info);
    size_t channels = choose_channels(decoder);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, decoder->info);
    if (width > SIZE_MAX / 3 / height || 3 * width * height != capacity ||
        png_get_rowbytes(png, decoder->info) != channels * width)
        escape(decoder, CPNG_MISUSE, "The buffer does not fit the picture");
    size_t offset = (3 - channels) * width;
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            if (pass == passes - 1 && y == height - 1)
                limit_last_row(decoder, coded);
            png_read_row(png, rgb + 3 * width * y + offset, NULL);
        }
    }
    decoder->allowance = SIZE_MAX;
    for (size_t y = 0; channels == 1 && y < height; y++)
        spread(decoder, rgb + 3 * width * y, width);
    png_read_end(png, decoder->info); /* a file cut just before its end chunk is incomplete too */
}

enum cpng_status cpng_decode(const uint8_t *data, size_t length, uint8_t *rgb, size_t capacity, uint8_t *exif,
                             size_t exif_capacity, size_t *exif_length, char *message) {
    struct decoder decoder;
    prepare(&decoder, data, length, message);
    decoder.exif = exif;
    decoder.exif_capacity = exif_capacity;
    decode(&decoder, rgb, capacity);
    *exif_length = decoder.exif_length;
    png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
    return decoder.status;
}
