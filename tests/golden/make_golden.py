#!/usr/bin/env python3
"""Trains each network a few steps with PyTorch in double precision and writes the losses.

    /usr/bin/python3 tests/golden/make_golden.py [NETWORK ...]      (Debian: python3-torch, python3-numpy)

The networks are written down here a second time, as the paper's table, not read from Brigade. Initial weights,
images, labels and dropout masks are drawn with the same counter-based generator as in brigade/core/random.hpp,
so that tests/network/golden_test.cpp can repeat the runs; everything else is PyTorch's own.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

INITIAL_WEIGHTS, DROPOUT, SYNTHETIC_DATA = 1, 3, 7  # brigade::Purpose
EPSILON, RUNNING_MOMENTUM = 1e-3, 0.1  # of batch norm; PyTorch's momentum is 1 - Brigade's

# Layers as (kind, arguments); the position in the list (1 for the first) is the node that keys dropout.
CONV, NORM, RELU, POOL = "conv", ("norm",), ("relu",), ("pool",)
FASHION_CNN = [
    (CONV, 32, 5, "same", "no bias"), NORM, RELU, POOL,
    (CONV, 64, 5, "same", "no bias"), NORM, RELU, POOL,
    ("flatten",), ("dense", 128), RELU, ("dense", "classes"),
]
LENET5 = [
    (CONV, 6, 5, "same", "bias"), RELU, POOL, (CONV, 16, 5, "valid", "bias"), RELU, POOL,
    ("flatten",), ("dense", 120), RELU, ("dense", 84), RELU, ("dense", "classes"),
]
TINY_MODEL1 = [
    (CONV, 32, 3, "valid", "bias"), RELU, POOL, (CONV, 64, 3, "valid", "bias"), RELU, POOL,
    (CONV, 128, 3, "valid", "bias"), RELU, POOL, (CONV, 128, 3, "valid", "bias"), RELU, POOL,
    ("flatten",), ("dropout", 0.5), ("dense", 512), RELU, ("dense", "classes"),
]
TINY_MODEL2 = [
    (CONV, 32, 3, "valid", "bias"), RELU, (CONV, 32, 3, "valid", "bias"), RELU, POOL, NORM, ("dropout", 0.5),
    (CONV, 32, 3, "valid", "bias"), RELU, (CONV, 64, 3, "valid", "bias"), RELU, POOL, NORM, ("dropout", 0.5),
    (CONV, 128, 3, "valid", "bias"), RELU, POOL, (CONV, 128, 3, "valid", "bias"), RELU, POOL, NORM,
    ("flatten",), ("dense", 512), RELU, ("dense", 1024), RELU, ("dense", "classes"),
]
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
ADAM = {"name": "adam", "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}

# name of the file -> network, layers, image [h, w, c], classes, batch, optimizer. The tiny networks get smaller and
# oblong images, which keeps the test short and would show height and width exchanged, and lower rates: they end in
# maps of 1x1 and 2x1 (in tiny-model2, batch norm sees 16 values there), where the gradient jumps if rounding lets
# another pixel win a max-pool. At a rate of 0.01 that is chaos: two steps later the losses' third digit differs.
RUNS = {
    "fashion-cnn": ("fashion-cnn", FASHION_CNN, (28, 28, 1), 10, 16, SGD),
    "lenet5": ("lenet5", LENET5, (28, 28, 1), 10, 16, SGD),
    "lenet5-adam": ("lenet5", LENET5, (28, 28, 1), 10, 16, ADAM),
    "tiny-model1": ("tiny-model1", TINY_MODEL1, (64, 48, 3), 20, 16, SGD | {"learning_rate": 0.002}),
    "tiny-model2": ("tiny-model2", TINY_MODEL2, (52, 56, 3), 20, 16, SGD | {"learning_rate": 0.0001}),
}
STEPS, BATCHES, SEED = 10, 2, 1  # step s trains on batch s % BATCHES


def philox4x32(counter, key):
    """Philox4x32-10 (Salmon et al., SC'11) on arrays of uint32 words held as uint64."""
    c, (k0, k1), low = list(counter), key, np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def draws(n, purpose, stream=0, position=0, seed=SEED):
    """The first n draws of a stream, as brigade::random_u32 numbers them."""
    block = np.arange((n + 3) // 4, dtype=np.uint64)
    word = lambda value: np.full_like(block, value)
    counter = [block & np.uint64(0xFFFFFFFF), (block >> np.uint64(32)) ^ np.uint64(purpose << 24), word(stream), word(position)]
    return np.stack(philox4x32(counter, (seed & 0xFFFFFFFF, (seed >> 32) ^ (purpose << 24))), axis=1).reshape(-1)[:n]


def uniform(bits):
    return (bits >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)


def synthetic_batch(number, image, classes, batch):
    """Noise: u8 pixels [n, h, w, c] scaled to -1 ... 1, and labels."""
    n = batch * int(np.prod(image))
    pixels = (draws(n, SYNTHETIC_DATA, stream=0, position=number) >> np.uint64(24)).astype(np.float32)
    images = (pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    labels = draws(batch, SYNTHETIC_DATA, stream=1, position=number) % np.uint64(classes)
    x = torch.from_numpy(images.astype(np.float64)).reshape(batch, *image)
    return x.permute(0, 3, 1, 2), torch.from_numpy(labels.astype(np.int64))


class Network:
    """Parameters are kept in Brigade's order and layout ([kh, kw, cin, cout] and [in, out])."""

    def __init__(self, layers, image, classes, disturbance=0.0):
        self.disturbance = disturbance  # relative, of the initial kernels
        self.layers = [tuple(classes if a == "classes" else a for a in layer) for layer in layers]
        self.parameters, self.statistics = [], []
        self.forward(torch.zeros(2, image[2], image[0], image[1], dtype=torch.float64), training=True, build=True)
        for mean, variance in self.statistics:
            mean.zero_(), variance.fill_(1)

    def kernel(self, *shape):
        fan_in_and_out = int(np.prod(shape[:-2])) * (shape[-2] + shape[-1])
        limit = np.float32(np.sqrt(6.0 / fan_in_and_out))
        u = uniform(draws(int(np.prod(shape)), INITIAL_WEIGHTS, stream=len(self.parameters)))
        values = ((np.float32(2) * u - np.float32(1)) * limit).astype(np.float64)
        alternating = np.where(np.arange(values.size) % 2 == 0, self.disturbance, -self.disturbance)
        self.add((values * (1 + alternating)).reshape(shape))

    def add(self, values):
        self.parameters.append(torch.tensor(values, dtype=torch.float64, requires_grad=True))

    def forward(self, x, training, step=0, build=False):
        parameters, statistics = iter(self.parameters), iter(self.statistics)

        def take(make):
            if build:
                make()
                return self.parameters[-1]
            return next(parameters)

        for node, (kind, *arguments) in enumerate(self.layers, start=1):
            if kind == "conv":
                filters, size, padding, bias = arguments
                channels = x.shape[1]
                w = take(lambda: self.kernel(size, size, channels, filters))
                b = take(lambda: self.add(np.zeros(filters))) if bias == "bias" else None
                x = F.conv2d(x, w.permute(3, 2, 0, 1), b, padding=padding)
            elif kind == "dense":
                (units,) = arguments
                inputs = x.shape[1]
                w = take(lambda: self.kernel(inputs, units))
                x = x @ w + take(lambda: self.add(np.zeros(units)))
            elif kind == "norm":
                channels = x.shape[1]
                if build:
                    self.statistics.append((torch.zeros(channels).double(), torch.ones(channels).double()))
                mean, variance = self.statistics[-1] if build else next(statistics)
                gamma, beta = take(lambda: self.add(np.ones(channels))), take(lambda: self.add(np.zeros(channels)))
                x = F.batch_norm(x, mean, variance, gamma, beta, training, RUNNING_MOMENTUM, EPSILON)
            elif kind == "relu":
                x = F.relu(x)
            elif kind == "pool":
                x = F.max_pool2d(x, 2)
            elif kind == "flatten":
                x = x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)  # in the order [h, w, c]
            elif kind == "dropout" and training:
                (rate,) = arguments
                nhwc = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
                kept = uniform(draws(nhwc.numel(), DROPOUT, stream=node, position=step)) >= np.float32(rate)
                mask = torch.from_numpy(kept.astype(np.float64)).reshape(nhwc.shape) / (1 - rate)
                x = x * (mask.permute(0, 3, 1, 2) if x.dim() == 4 else mask)
        return x


def make_optimizer(parameters, options):
    if options["name"] == "sgd":
        return torch.optim.SGD(parameters, lr=options["learning_rate"], momentum=options["momentum"])
    return torch.optim.Adam(parameters, lr=options["learning_rate"], betas=(options["beta1"], options["beta2"]),
                            eps=options["epsilon"])


def train(layers, image, classes, batch, optimizer_options, disturbance=0.0):
    """The losses of all steps, then the loss of an evaluation."""
    net = Network(layers, image, classes, disturbance)
    optimizer = make_optimizer(net.parameters, optimizer_options)
    batches = [synthetic_batch(i, image, classes, batch) for i in range(BATCHES)]
    losses = []
    for step in range(STEPS):
        x, labels = batches[step % BATCHES]
        loss = F.cross_entropy(net.forward(x, training=True, step=step), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        x, labels = batches[0]
        losses.append(F.cross_entropy(net.forward(x, training=False), labels).item())
    return losses, sum(p.numel() for p in net.parameters)


def run(network, layers, image, classes, batch, optimizer_options):
    losses, parameters = train(layers, image, classes, batch, optimizer_options)
    # How far the losses move if each initial weight moves by 1e-6 of itself, some ten times float32's rounding. A run
    # that magnifies this up to the tolerance of the test compares luck, not arithmetic.
    sensitivity = 0.0
    for disturbance in (1e-6, -1e-6):
        disturbed, _ = train(layers, image, classes, batch, optimizer_options, disturbance)
        sensitivity = max([sensitivity] + [abs(a - b) / a for a, b in zip(losses, disturbed)])
    assert sensitivity < 5e-5, f"{network}: rounding alone may change the losses by {sensitivity:.0e}"
    return {
        "network": network, "image": list(image), "classes": classes, "batch": batch, "batches": BATCHES, "seed": SEED,
        "optimizer": optimizer_options, "parameters": parameters, "losses": losses[:-1],
        "evaluation_loss": losses[-1], "sensitivity": sensitivity,
        "made_with": f"PyTorch {torch.__version__}, float64",
    }


if __name__ == "__main__":
    # Known answer of Philox4x32-10 (Random123, kat_vectors): all bits of counter and key set.
    ones = [np.array([0xFFFFFFFF], dtype=np.uint64)] * 4
    assert [int(w[0]) for w in philox4x32(ones, (0xFFFFFFFF, 0xFFFFFFFF))] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    for name in sys.argv[1:] or RUNS:
        result = run(*RUNS[name])
        path = pathlib.Path(__file__).parent / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{path.name}: {result['losses'][0]:.6f} ... {result['losses'][-1]:.6f}, evaluation {result['evaluation_loss']:.6f}, "
              f"sensitivity {result['sensitivity']:.0e}")
