"""Makes the fixtures of VisionTests with tools that are not ours: Pillow, and jpegtran of libjpeg-turbo.

Run as `python make_fixtures.py` in this folder. Made with Pillow 13.0.0 (libjpeg-turbo 3.2.0) and jpegtran of
libjpeg-turbo 2.1.5. `photos/` comes from outside and is not made here: coffee and rocket of scikit-image, and their
pixels resized by Pillow to the sides in the names.
For each NAME.jpg, NAME.rgb holds Pillow's `convert("RGB")` of it, upright: [height, width, 3] bytes.
"""

import io
import pathlib
import struct
import subprocess

from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
formats = here / "formats"
resizes = here / "resize"
for folder in (formats, resizes):
    folder.mkdir(exist_ok=True)


def noise(count, seed):
    """Bytes of the generator that `noise` in Fixtures.swift repeats."""
    state, out = seed, bytearray()
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return bytes(out)


def scene(width, height):
    """Smooth colours with sharp edges and no symmetry."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            inside = width // 4 <= x < width // 2 and y < height // 2
            colour = (250, 20, 40) if inside else (x * 255 // width, y * 255 // height, (x * 7 + y * 3) % 256)
            image.putpixel((x, y), colour)
    return image


def encode(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def write(name, data, draft=None):
    (formats / f"{name}.jpg").write_bytes(data)
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft(image.mode, draft)
    upright = ImageOps.exif_transpose(image.convert("RGB") if image.mode == "RGB" else image)
    (formats / f"{name}.rgb").write_bytes(upright.convert("RGB").tobytes())


def exif(order, orientation):
    """The smallest TIFF structure with an orientation, in the byte order `order` (struct's < or >)."""
    tiff = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    tiff += struct.pack(order + "H", 1) + struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + tiff + struct.pack(order + "I", 0)


def jpegtran(data, *options):
    return subprocess.run(["jpegtran", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def without_adobe(data):
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def with_adobe_transform(data, transform):
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


image = scene(37, 29)
inks = Image.merge("CMYK", (*image.split(), image.split()[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
write("grey", encode(image.convert("L"), quality=85))
write("420", encode(image, quality=85, subsampling="4:2:0"))
write("422", encode(image, quality=85, subsampling="4:2:2"))
write("444", encode(image, quality=95, subsampling="4:4:4"))
write("rgb", encode(image, quality=90, keep_rgb=True))
write("progressive", encode(image, quality=85, progressive=True))
write("restarts", encode(image, quality=85, restart_marker_blocks=2))
write("cmyk", encode(inks, quality=95))
write("cmyk-without-adobe", without_adobe(encode(inks, quality=95)))
write("ycck", with_adobe_transform(encode(inks, quality=95), 2))
write("one-pixel", encode(scene(1, 1)))
write("large", encode(scene(250, 193), quality=60), draft=(62, 48))
for orientation in range(1, 9):
    tag = exif("<" if orientation % 2 else ">", orientation)
    write(f"orientation-{orientation}", encode(scene(24, 16), quality=80, exif=tag))

colour = encode(image, quality=85, subsampling="4:2:0")
arithmetic = jpegtran(colour, "-arithmetic")
(formats / "arithmetic.jpg").write_bytes(arithmetic)  # same coefficients as 420.jpg, so its pixels too
scans = here / "scans.txt"
scans.write_text("0;\n1;\n2;\n")
(formats / "three-scans.jpg").write_bytes(jpegtran(colour, "-scans", str(scans)))  # as 420.jpg too
scans.unlink()

for kind in ("GIF", "WEBP", "TIFF", "BMP", "AVIF"):
    scene(8, 8).save(formats / f"tiny.{kind.lower()}")

# name: (source width, height, target width, height, seed)
for width, height, to_width, to_height, seed in [
    (37, 53, 16, 16, 1), (97, 64, 33, 33, 2), (5, 5, 32, 32, 3), (1, 40, 8, 8, 4), (300, 7, 24, 24, 5), (1, 1, 5, 5, 6),
    (64, 48, 65, 47, 7), (31, 16, 16, 16, 8), (16, 31, 16, 16, 9), (640, 480, 26, 26, 10), (23, 23, 23, 23, 11),
    (2000, 3, 1, 1, 12), (3, 1999, 7, 2, 13), (24, 36, 20, 28, 14), (24, 37, 20, 28, 15), (400, 600, 26, 26, 16),
]:
    # Half of the bytes at the extremes, so that the kernel's overshoot is clamped on both sides.
    raw = bytes(0 if b < 64 else 255 if b >= 192 else b for b in noise(3 * width * height, seed))
    result = Image.frombytes("RGB", (width, height), raw).resize((to_width, to_height), Image.Resampling.BICUBIC)
    name = f"{width}x{height}-{to_width}x{to_height}-{seed}.rgb"
    (resizes / name).write_bytes(result.tobytes())
