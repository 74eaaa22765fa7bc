"""Reads a dataset with nothing but h5py, as a user would, and checks the pixels that support.cpp made.

    read_with_h5py.py DIRECTORY
"""
import json
import pathlib
import sys

import h5py
import numpy as np

directory = pathlib.Path(sys.argv[1])
manifest = json.loads((directory / "manifest.json").read_text())
seen = {}
for split, info in manifest["splits"].items():
    for index, shard in enumerate(info["shards"]):
        with h5py.File(directory / shard["file"], "r") as file:
            assert file.attrs["brigade_shard_version"] == 2 and file.attrs["layout"] == b"raw"
            assert file.attrs["split"].decode() == split and file.attrs["shard_index"] == index
            assert "seed 1" in file.attrs["plan"].decode()
            images, labels, names = file["images"], file["labels"][:], file["names"][:]
            assert images.chunks is None and (images.nbytes < 4096 or images.id.get_offset() % 4096 == 0)
            assert images.dtype == np.uint8 and labels.dtype == np.int32 and file["checksums"].dtype == np.uint32
            assert images.shape == (shard["samples"], *(manifest["image"][k] for k in ("height", "width", "channels")))
            pixels = images[:]
            assert list(file.attrs["channel_sum"]) == list(pixels.sum((0, 1, 2), dtype=np.uint64))
            for image, label, name in zip(pixels, labels, names):
                sample = int(name.decode().split("#")[1])
                position = np.arange(image.size, dtype=np.uint64)
                mixed = (np.uint64(sample * 1315423911 + 1) + position) * np.uint64(0x9E3779B97F4A7C15)
                assert (image.ravel() == (mixed >> np.uint64(56))).all() and label == sample % 5
                seen.setdefault(split, set()).add(sample)
assert seen == {split: set(range(info["samples"])) for split, info in manifest["splits"].items()}, seen
