"""Makes the PNG fixtures of VisionTests: every colour type, depth and interlacing, against Pillow's pixels.

Run as `python make_png_fixtures.py` in this folder. Made with Pillow 13.0.0 and NumPy 2. Pillow writes few of these varieties, so
the encoder is the one below, after the PNG specification; Pillow reads every file, which also proves the encoder.
For each png/NAME.png, png/NAME.rgb holds Pillow's `convert("RGB")` of it, upright: [height, width, 3] bytes. Of 16-bit grey
Pillow makes white wherever the value is above 255 (it clips); there the upper bytes are taken, as Pillow does with 16-bit RGB.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

folder = pathlib.Path(__file__).parent / "png"
folder.mkdir(exist_ok=True)
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed(samples, depth):
    """Rows of samples [height, width * channels] as bytes, each row with a filter byte in front (filters 0 to 4 in turn)."""
    rows = []
    for row in samples:
        if depth == 16:
            rows.append(row.astype(">u2").tobytes())
        elif depth == 8:
            rows.append(row.astype(np.uint8).tobytes())
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            rows.append(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


def filtered(rows, step):
    out, above = b"", None
    for index, row in enumerate(rows):
        kind = index % 5
        above = above or bytes(len(row))
        line = bytearray()
        for i, value in enumerate(row):
            a = row[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line.append((value - (0, a, b, (a + b) // 2, near)[kind]) & 255)
        out += bytes([kind]) + bytes(line)
        above = row
    return out


def png(samples, colour, depth, interlaced=False, before=b"", after=b"", pieces=1):
    height, width = samples.shape[:2]
    step = max(1, CHANNELS[colour] * depth // 8)
    grids = [samples[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [samples]
    raw = b"".join(
        filtered(packed(g.reshape(g.shape[0], -1), depth), step) for g in grids if g.shape[0] and g.shape[1])
    data = zlib.compress(raw, 9)
    size = max(1, -(-len(data) // pieces))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = b"".join(chunk(b"IDAT", data[i : i + size]) for i in range(0, len(data), size))
    return SIGNATURE + chunk(b"IHDR", head) + before + body + after + chunk(b"IEND")


def write(name, data, sixteen_bit_grey=False):
    (folder / f"{name}.png").write_bytes(data)
    image = Image.open(io.BytesIO(data))
    image.load()
    if sixteen_bit_grey:
        upper = np.asarray(image).astype(np.uint16) >> 8
        image = Image.fromarray(upper.astype(np.uint8))
    rgb = ImageOps.exif_transpose(image).convert("RGB")
    (folder / f"{name}.rgb").write_bytes(rgb.tobytes())


random = np.random.default_rng(2026)


def samples(channels, depth, height=11, width=13, levels=None):
    shape = (height, width, channels)
    return random.integers(0, levels or 2**depth, shape)


def palette(count):
    return chunk(b"PLTE", random.integers(0, 256, 3 * count).astype(np.uint8).tobytes())


def exif(orientation):
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return chunk(b"eXIf", b"MM" + struct.pack(">HIH", 42, 8, 1) + entry + struct.pack(">I", 0))


for interlaced in (False, True):
    suffix = "-interlaced" if interlaced else ""
    for depth in (1, 2, 4, 8, 16):
        write(f"grey-{depth}{suffix}", png(samples(1, depth), GREY, depth, interlaced), depth == 16)
    for depth in (1, 2, 4, 8):
        some = palette(2**depth)
        write(f"palette-{depth}{suffix}", png(samples(1, depth), PALETTE, depth, interlaced, before=some))
    for depth in (8, 16):
        write(f"rgb-{depth}{suffix}", png(samples(3, depth), RGB, depth, interlaced))
        write(f"grey-alpha-{depth}{suffix}", png(samples(2, depth), GREY_ALPHA, depth, interlaced))
        write(f"rgba-{depth}{suffix}", png(samples(4, depth), RGBA, depth, interlaced))

# Transparency, which is dropped: tRNS of each colour type that may have it.
clear = bytes(range(0, 160, 10))
write("palette-trns", png(samples(1, 4), PALETTE, 4, before=palette(16) + chunk(b"tRNS", clear)))
write("grey-trns", png(samples(1, 8), GREY, 8, before=chunk(b"tRNS", b"\0\x80")))
write("rgb-trns", png(samples(3, 8), RGB, 8, before=chunk(b"tRNS", b"\0\x80\0\x80\0\x80")))
# Fewer colours than the depth has, and colours in a picture that needs none.
write("palette-short", png(samples(1, 8, levels=7), PALETTE, 8, before=palette(7)))
write("rgb-suggested", png(samples(3, 8), RGB, 8, before=palette(5)))
# Gamma, a profile that is no zlib stream, text before and after: all without effect.
profile = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"iCCP", b"x\0\0not zlib") + chunk(b"pHYs", bytes(9))
texts = chunk(b"tEXt", b"Comment\0late") + chunk(b"prIv", b"private")
write("chunks", png(samples(3, 8), RGB, 8, before=profile, after=texts))
write("pieces", png(samples(3, 8), RGB, 8, pieces=40))
write("one-pixel", png(samples(4, 8, 1, 1), RGBA, 8))
write("one-pixel-interlaced", png(samples(1, 2, 1, 1), GREY, 2, True))
write("narrow-interlaced", png(samples(3, 8, 9, 2), RGB, 8, True))
write("wide-interlaced", png(samples(1, 1, 3, 37), GREY, 1, True))
for orientation in range(1, 9):
    write(f"orientation-{orientation}", png(samples(3, 8, 5, 7), RGB, 8, before=exif(orientation)))
write("orientation-late", png(samples(3, 8, 5, 7), RGB, 8, after=exif(6)))

# An animation of three frames whose first is the image that others show; Pillow writes and reads it.
frames = [Image.fromarray(samples(3, 8).astype(np.uint8), "RGB") for _ in range(3)]
out = io.BytesIO()
frames[0].save(out, "PNG", save_all=True, append_images=frames[1:], duration=100)
assert b"acTL" in out.getvalue() and b"fdAT" in out.getvalue()
write("animation", out.getvalue())
# A real encoder's file beside our own.
gradient = np.add.outer(np.arange(40) * 5, np.arange(60) * 3)
out = io.BytesIO()
Image.fromarray(np.stack([gradient % 256, gradient // 2 % 256, 255 - gradient % 256], -1).astype(np.uint8)).save(
    out, "PNG", optimize=True)
write("photo", out.getvalue())

# A bomb: one pixel, and 16 MB of zeros after it. Not in the table above, for it is refused.
(folder / "bombs").mkdir(exist_ok=True)
body = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, GREY, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(16 << 20), 9))
(folder / "bombs" / "one-pixel.png").write_bytes(SIGNATURE + body + chunk(b"IEND"))
