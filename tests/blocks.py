"""A tiny dataset that a network learns in a few steps, in the files of MNIST."""
import gzip
import struct

import numpy


def blocks(count, seed):
    """28x28 images of ten classes, each with a bright block at its own place, under noise."""
    generator = numpy.random.default_rng(seed)
    labels = generator.integers(0, 10, count, dtype=numpy.uint8)
    images = generator.integers(0, 100, (count, 28, 28), dtype=numpy.uint8)
    for image, label in zip(images, labels):
        row, column = label // 4 * 9, label % 4 * 7
        image[row:row + 7, column:column + 7] = 200
    return images, labels


def write_idx(directory, name, images, labels):
    with gzip.open(directory / f"{name}-images-idx3-ubyte.gz", "wb") as out:
        out.write(struct.pack(">IIII", 0x803, *images.shape) + images.tobytes())
    with gzip.open(directory / f"{name}-labels-idx1-ubyte.gz", "wb") as out:
        out.write(struct.pack(">II", 0x801, len(labels)) + labels.tobytes())


def write_blocks(directory):
    """600 training and 101 test images; returns the directory, which `brigade shard --source` takes."""
    write_idx(directory, "train", *blocks(600, 1))
    write_idx(directory, "t10k", *blocks(101, 2))
    return directory
