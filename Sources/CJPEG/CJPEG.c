/*
 * The calls of CJPEG.h, over libjpeg.
 *
 * Invariant: libjpeg's objects and the jump buffer live in a `struct decoder` owned by the outer function of each call;
 * setjmp is called in an inner one, so that no automatic variable changes between setjmp and longjmp.
 * Failure modes: libjpeg's errors, and its warnings too but for the harmless ones, end the call: libjpeg
 * would go on with grey or garbage where data is missing, and a damaged photo must never be described.
 */
#include "CJPEG.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

_Static_assert(CJPEG_MESSAGE_CAPACITY >= JMSG_LENGTH_MAX, "libjpeg writes up to JMSG_LENGTH_MAX bytes");

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    enum cjpeg_status status;
    uint32_t remarks;
    int scans_allowed;
    unsigned components_seen; /* bit per component that some scan has carried; used for pictures in several scans */
    char *message;
};

static struct decoder *decoder_of(j_common_ptr common) { return common->client_data; }

/* Ends the call with `status`; the message is already written. */
_Noreturn static void escape(struct decoder *decoder, enum cjpeg_status status) {
    decoder->status = status;
    longjmp(decoder->escape, 1);
}

static enum cjpeg_status status_of(int code) {
    switch (code) {
    case JWRN_JPEG_EOF:
        return CJPEG_TRUNCATED;
    case JERR_IMAGE_TOO_BIG:
    case JERR_WIDTH_OVERFLOW:
    case JERR_NO_BACKING_STORE: /* libjpeg's word for "over max_memory_to_use" */
    case JERR_OUT_OF_MEMORY:
        return CJPEG_TOO_LARGE;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        return CJPEG_UNSUPPORTED;
    default:
        return CJPEG_CORRUPT;
    }
}

static void on_error(j_common_ptr common) {
    struct decoder *decoder = decoder_of(common);
    common->err->format_message(common, decoder->message);
    escape(decoder, status_of(common->err->msg_code));
}

/* Called for warnings (level -1) and trace messages (level 0 and up, none of our concern). */
static void on_message(j_common_ptr common, int level) {
    if (level >= 0)
        return;
    struct decoder *decoder = decoder_of(common);
    switch (common->err->msg_code) {
    case JWRN_JFIF_MAJOR:
        decoder->remarks |= CJPEG_REMARK_JFIF_VERSION;
        break;
    case JWRN_ADOBE_XFORM:
        decoder->remarks |= CJPEG_REMARK_ADOBE_TRANSFORM;
        break;
    case JWRN_NOT_SEQUENTIAL:
        decoder->remarks |= CJPEG_REMARK_SCAN_PARAMETERS;
        break;
    default:
        on_error(common);
    }
}

static void on_output(j_common_ptr common) { (void)common; }

/*
 * Called by libjpeg at least once a scan while it collects the scans of a picture that has several: a few bytes can
 * make a scan that costs a pass over the whole picture.
 */
static void on_progress(j_common_ptr common) {
    struct decoder *decoder = decoder_of(common);
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    for (int i = 0; i < jpeg->comps_in_scan; i++)
        decoder->components_seen |= 1u << jpeg->cur_comp_info[i]->component_index;
    if (jpeg->input_scan_number <= decoder->scans_allowed)
        return;
    snprintf(decoder->message, CJPEG_MESSAGE_CAPACITY, "More than %d scans", decoder->scans_allowed);
    escape(decoder, CJPEG_TOO_LARGE);
}

/* libjpeg shows a component that no scan carries as if it were zero, without a warning. */
static void require_all_components(struct decoder *decoder) {
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    if (!jpeg_has_multiple_scans(jpeg) || decoder->components_seen == (1u << jpeg->num_components) - 1)
        return;
    snprintf(decoder->message, CJPEG_MESSAGE_CAPACITY, "Scans of some colour components are missing");
    escape(decoder, CJPEG_CORRUPT);
}

static void prepare(struct decoder *decoder, char *message) {
    memset(decoder, 0, sizeof *decoder);
    message[0] = 0;
    decoder->message = message;
    decoder->jpeg.err = jpeg_std_error(&decoder->errors);
    decoder->errors.error_exit = on_error;
    decoder->errors.emit_message = on_message;
    decoder->errors.output_message = on_output;
    decoder->jpeg.client_data = decoder; /* jpeg_create_decompress keeps err and client_data */
}

static void read_markers(struct decoder *decoder, const uint8_t *data, size_t length) {
    jpeg_create_decompress(&decoder->jpeg);
    jpeg_mem_src(&decoder->jpeg, data, length);
    jpeg_save_markers(&decoder->jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&decoder->jpeg, TRUE);
    switch (decoder->jpeg.jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_YCbCr:
    case JCS_RGB:
        decoder->jpeg.out_color_space = JCS_RGB;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        decoder->jpeg.out_color_space = JCS_CMYK;
        break;
    default:
        snprintf(decoder->message, CJPEG_MESSAGE_CAPACITY, "%d colour components of unknown meaning",
                 decoder->jpeg.num_components);
        escape(decoder, CJPEG_UNSUPPORTED);
    }
}

/* Copies the first EXIF segment's TIFF structure; returns its length, 0 without one. */
static size_t copy_exif(const struct jpeg_decompress_struct *jpeg, uint8_t *exif, size_t capacity) {
    static const uint8_t name[5] = {'E', 'x', 'i', 'f', 0};
    const size_t prefix = sizeof name + 1; /* the sixth byte is padding */
    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker; marker = marker->next) {
        if (marker->data_length < prefix || memcmp(marker->data, name, sizeof name) != 0)
            continue;
        size_t length = marker->data_length - prefix;
        if (length > capacity)
            length = capacity;
        memcpy(exif, marker->data + prefix, length);
        return length;
    }
    return 0;
}

static void read_header(struct decoder *decoder, const uint8_t *data, size_t length, struct cjpeg_header *header,
                        uint8_t *exif, size_t exif_capacity) {
    if (setjmp(decoder->escape))
        return;
    read_markers(decoder, data, length);
    header->exif_length = copy_exif(&decoder->jpeg, exif, exif_capacity);
}

enum cjpeg_status cjpeg_read_header(const uint8_t *data, size_t length, struct cjpeg_header *header, uint8_t *exif,
                                    size_t exif_capacity, char *message) {
    struct decoder decoder;
    memset(header, 0, sizeof *header);
    prepare(&decoder, message);
    read_header(&decoder, data, length, header, exif, exif_capacity);
    header->width = decoder.jpeg.image_width;
    header->height = decoder.jpeg.image_height;
    jpeg_destroy_decompress(&decoder.jpeg);
    return decoder.status;
}

/* a * b / 255, rounded to nearest; exact for bytes. */
static int multiply_bytes(int a, int b) {
    int product = a * b + 128;
    return (product + (product >> 8)) >> 8;
}

/* Inverted CMYK, as Adobe writes it: 255 is no ink. Light left = (1 - ink) * (1 - black), rounded as Pillow does. */
static void rgb_from_inverted_cmyk(uint8_t *rgb, const uint8_t *cmyk, size_t pixels) {
    for (size_t i = 0; i < pixels; i++, rgb += 3, cmyk += 4) {
        int light = cmyk[3];
        for (int channel = 0; channel < 3; channel++)
            rgb[channel] = (uint8_t)(light - multiply_bytes(255 - cmyk[channel], light));
    }
}

static void decode(struct decoder *decoder, const uint8_t *data, size_t length, int denominator,
                   const struct cjpeg_limits *limits, uint8_t *rgb, size_t capacity) {
    if (setjmp(decoder->escape))
        return;
    read_markers(decoder, data, length);
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    jpeg->mem->max_memory_to_use = (long)limits->memory;
    decoder->scans_allowed = limits->scans;
    decoder->progress.progress_monitor = on_progress;
    jpeg->progress = &decoder->progress;
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)denominator;
    jpeg_calc_output_dimensions(jpeg);
    size_t row = (size_t)jpeg->output_width * 3;
    if (row * jpeg->output_height != capacity) {
        snprintf(decoder->message, CJPEG_MESSAGE_CAPACITY, "The buffer does not fit the picture");
        escape(decoder, CJPEG_MISUSE);
    }
    jpeg_start_decompress(jpeg);
    require_all_components(decoder);
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    JSAMPARRAY line = NULL;
    if (cmyk)
        line = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * 4, 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW target = rgb + row * jpeg->output_scanline;
        jpeg_read_scanlines(jpeg, cmyk ? line : &target, 1);
        if (cmyk)
            rgb_from_inverted_cmyk(target, line[0], jpeg->output_width);
    }
    jpeg_finish_decompress(jpeg); /* reads on to the end marker: a file cut just before it is incomplete too */
}

enum cjpeg_status cjpeg_decode(const uint8_t *data, size_t length, int denominator, const struct cjpeg_limits *limits,
                               uint8_t *rgb, size_t capacity, uint32_t *remarks, char *message) {
    struct decoder decoder;
    prepare(&decoder, message);
    decode(&decoder, data, length, denominator, limits, rgb, capacity);
    *remarks = decoder.remarks;
    jpeg_destroy_decompress(&decoder.jpeg);
    return decoder.status;
}

/* What a call that encodes owns. */
struct encoder {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf escape;
    enum cjpeg_status status;
    unsigned char *bytes; /* where libjpeg writes: the caller's buffer, or a larger one of its own */
    unsigned long length;
    char *message;
};

static void on_encoder_error(j_common_ptr common) {
    struct encoder *encoder = common->client_data;
    common->err->format_message(common, encoder->message);
    encoder->status = common->err->msg_code == JERR_OUT_OF_MEMORY ? CJPEG_TOO_LARGE : CJPEG_MISUSE;
    longjmp(encoder->escape, 1);
}

static void encode(struct encoder *encoder, const uint8_t *rgb, uint32_t width, uint32_t height, int quality) {
    if (setjmp(encoder->escape))
        return;
    struct jpeg_compress_struct *jpeg = &encoder->jpeg;
    jpeg_create_compress(jpeg);
    jpeg_mem_dest(jpeg, &encoder->bytes, &encoder->length);
    jpeg->image_width = width;
    jpeg->image_height = height;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        /* libjpeg writes to no row that it is given. */
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)3 * width * jpeg->next_scanline);
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
}

enum cjpeg_status cjpeg_encode(const uint8_t *rgb, uint32_t width, uint32_t height, int quality, uint8_t *jpeg,
                               size_t capacity, size_t *length, char *message) {
    struct encoder encoder;
    memset(&encoder, 0, sizeof encoder);
    encoder.message = message;
    encoder.bytes = jpeg;
    encoder.length = capacity;
    encoder.jpeg.err = jpeg_std_error(&encoder.errors);
    encoder.jpeg.client_data = &encoder;
    encoder.errors.error_exit = on_encoder_error;
    encoder.errors.output_message = on_output;
    encode(&encoder, rgb, width, height, quality);
    /* libjpeg tells of a buffer of its own only when it is done: an error before that leaves ours here. */
    if (encoder.bytes != jpeg) {
        snprintf(message, CJPEG_MESSAGE_CAPACITY, "The picture takes %lu bytes", encoder.length);
        encoder.status = CJPEG_TOO_LARGE;
        free(encoder.bytes);
    }
    *length = encoder.status == CJPEG_OK ? encoder.length : 0;
    jpeg_destroy_compress(&encoder.jpeg);
    return encoder.status;
}
