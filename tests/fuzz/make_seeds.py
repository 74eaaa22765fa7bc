#!/usr/bin/env python3
"""Writes the fuzzers' seeds: small, valid inputs of every format (what the first bytes mean is said in formats.cpp).

    /usr/bin/python3 tests/fuzz/make_seeds.py [--brigade build/release/src/cli/brigade]

Needs Pillow and numpy, and a build of Brigade that writes the shards. The results are checked in.
"""
import argparse
import gzip
import io
import json
import pathlib
import struct
import subprocess
import tarfile
import tempfile

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent


def put(name, data):
    path = HERE / "seeds" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def encoded(size, mode="RGB", form="JPEG", **how):
    height, width = size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([(7 * x + 3 * y) % 256, (x * y) % 256, (255 - 5 * x) % 256], -1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, form, **how)
    return out.getvalue()


def images():
    region = bytes([3, 5])
    exif = Image.Exif()
    exif[0x0112] = 6
    put("image/colour.jpg", region + encoded((24, 24), quality=80))
    put("image/restarts-422.jpg", region + encoded((40, 50), subsampling=1, quality=60, restart_marker_blocks=2))
    put("image/progressive.jpg", region + encoded((24, 24), progressive=True))
    put("image/grey.jpg", region + encoded((24, 24), "L"))
    put("image/cmyk.jpg", region + encoded((24, 24), "CMYK"))
    put("image/turned.jpg", region + encoded((30, 24), exif=exif))
    put("image/large.jpg", region + encoded((130, 120), quality=20))
    put("image/colour.png", region + encoded((24, 24), form="PNG"))
    put("image/palette.png", region + encoded((20, 24), "P", "PNG"))
    put("image/alpha.png", region + encoded((24, 24), "RGBA", "PNG"))


def idx():
    labels = struct.pack(">IIBB", 0x801, 2, 0, 3)
    pictures = struct.pack(">IIII", 0x803, 2, 4, 5) + bytes(range(40))
    put("idx/plain", bytes([len(labels)]) + labels + pictures)
    small = gzip.compress(labels, mtime=0)
    put("idx/gzip", bytes([len(small)]) + small + gzip.compress(pictures, mtime=0))


def tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        files = {"a.jpg": encoded((8, 8)), "a.cls": b"1\n", "b" * 120 + ".png": encoded((4, 4), form="PNG"),
                 "b" * 120 + ".json": json.dumps({"label": 0}).encode()}
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    put("tar/pax", out.getvalue())


def npz():
    arrays = {"x_train": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "y_train": np.array([1, 0], np.int64)}
    for name, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
        out = io.BytesIO()
        save(out, **arrays)
        put(f"npz/{name}", b"\1" + out.getvalue())
    header = io.BytesIO()
    np.save(header, arrays["x_train"])
    put("npz/header", b"\0" + header.getvalue())


def field(number, data):
    if isinstance(data, int):
        return bytes([number << 3, data])
    assert len(data) < 1 << 14
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) % 128 + 128, len(data) // 128])
    return bytes([number << 3 | 2]) + size + data


def tfrecord():
    def feature(name, value):
        return field(1, field(1, name) + field(2, value))

    image = encoded((8, 8))
    example = field(1, feature(b"image/encoded", field(1, field(1, image))) +
                    feature(b"image/class/label", field(3, field(1, 3))) +
                    feature(b"image/class/text", field(1, field(1, b"rose"))))
    packed = field(1, feature(b"image", field(1, field(1, image))) + feature(b"label", field(3, field(1, b"\2"))))
    put("tfrecord/example", b"\0" + example)
    put("tfrecord/packed", b"\0" + packed)


def shards(brigade):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        np.savez(directory / "few.npz", x_train=np.arange(96, dtype=np.uint8).reshape(4, 4, 3, 2)[..., :1],
                 y_train=np.array([0, 1, 1, 0]))
        for name, how in (("raw", []), ("encoded", ["--layout", "encoded"]), ("deflated", ["--deflate", "1"])):
            subprocess.run([brigade, "shard", "--source", directory / "few.npz", "--output", directory / name,
                            "--shards", "1", *how], check=True, capture_output=True)
            put(f"shard/{name}", (directory / name / "train-00000-of-00001.h5").read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brigade", default=HERE.parents[1] / "build/release/src/cli/brigade")
    options = parser.parse_args()
    images()
    idx()
    put("cifar/one-record", bytes([7]) + bytes(i * 5 % 256 for i in range(3072)))
    tar()
    npz()
    tfrecord()
    shards(options.brigade)


if __name__ == "__main__":
    main()
