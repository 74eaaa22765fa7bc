#!/usr/bin/env python3
"""Runs every network with PyTorch in double precision and writes what comes out.

    /usr/bin/python3 tests/golden/make_golden.py [step/resnet50 training/lenet5-adam ...]      (Debian: python3-torch)

`step/NETWORK.json` holds one training step: the losses, the gradient of each parameter and the statistics of each
batch norm, and the losses and probabilities of an evaluation with these statistics. A tensor is represented by its
norm and two sums of its elements with random signs, which notice an exchange of elements. `training/` holds the
losses of ten steps with an optimizer, `bf16.json` how far PyTorch's own bf16 is from its float32 in that one step.

The networks are those of tests/peers/networks.py, written down independently of Brigade's. Initial weights, images,
labels and dropout masks are drawn with the same counter-based generator as in brigade/core/random.hpp, so that
tests/network/golden_*_test.cpp can repeat the runs; everything else is PyTorch's own.
"""
import functools
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from philox import DROPOUT, INITIAL_WEIGHTS, SYNTHETIC_DATA, draws, uniform

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "peers"))
import networks  # noqa: E402  (needs the path)

SEED = 1

# Training: name of the file -> network, image [h, w, c], classes, batch, optimizer. The tiny networks get smaller and
# oblong images, which keeps the test short and would show height and width exchanged, and lower rates: they end in
# maps of 1x1 and 2x1 (in tiny-model2, batch norm sees 16 values there), where the gradient jumps if rounding lets
# another pixel win a max-pool. At a rate of 0.01 that is chaos: two steps later the losses' third digit differs.
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
ADAM = {"name": "adam", "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}
TRAINING = {
    "fashion-cnn": ("fashion-cnn", (28, 28, 1), 10, 16, SGD),
    "lenet5": ("lenet5", (28, 28, 1), 10, 16, SGD),
    "lenet5-adam": ("lenet5", (28, 28, 1), 10, 16, ADAM),
    "tiny-model1": ("tiny-model1", (64, 48, 3), 20, 16, SGD | {"learning_rate": 0.002}),
    "tiny-model2": ("tiny-model2", (52, 56, 3), 20, 16, SGD | {"learning_rate": 0.0001}),
}
STEPS, BATCHES = 10, 2  # step s trains on batch s % BATCHES

# One step: network -> image [h, w, c], batch. Oblong images with odd extents on the way, as small as leaves each batch
# norm some twenty values a channel: with fewer it magnifies rounding.
STEP = {
    "alexnet": ((80, 96, 3), 4),
    "densenet121": ((64, 96, 3), 4),
    "densenet169": ((64, 96, 3), 4),
    "densenet201": ((64, 96, 3), 4),
    "fashion-cnn": ((28, 20, 1), 4),
    "inception-resnet-v2": ((107, 123, 3), 4),
    "inception-v3": ((107, 123, 3), 4),
    "lenet5": ((28, 20, 1), 4),
    "mobilenet": ((70, 90, 3), 4),
    "mobilenet-v2": ((70, 90, 3), 4),
    "resnet18": ((64, 90, 3), 4),
    "resnet34": ((64, 90, 3), 4),
    "resnet50": ((64, 90, 3), 4),
    "resnet9": ((32, 64, 3), 4),
    "tiny-model1": ((64, 48, 3), 4),
    "tiny-model2": ((64, 56, 3), 8),
    "vgg16": ((32, 64, 3), 4),
    "wide-resnet-28-10": ((16, 22, 3), 4),
}
STEP_CLASSES = 10
# Rounding may move a value across the edge of a ReLU or let another pixel win a max-pool, and gradients jump. Batch
# norms are drawn so that the edge is 2.5 to 7 standard deviations from their mean (in the Inception networks, whose norms
# learn no scale, 2.5 to 3.5), which still cuts one value in 300 to 5,000; and the first batch is taken whose gradients do
# not jump when the kernels' weights are off by 3e-6 of themselves, up and down by turns of three periods. That moves
# statistics and losses at least as far as float32's rounding does.
DISTURBANCES = [(0.0, 2), (3e-6, 2), (-3e-6, 2), (3e-6, 6), (-3e-6, 6), (3e-6, 2048)]
SMOOTH, BATCHES_TRIED = 1e-3, 64
# Its ReLUs see ten millions of values, and the few batches tried jump (by 5e-3). It keeps wider draws and a batch in which
# float32 does not jump, so that other builds may.
WIDER_DRAWS = {"inception-resnet-v2"}
FIRST_BATCH = {"densenet121": 6, "inception-v3": 12, "resnet9": 20, "vgg16": 16}  # saves time


# ---- Data and weights, the same on both sides

def synthetic_batch(number, image, classes, batch):
    """Noise: u8 pixels [n, h, w, c] scaled to -1 ... 1, and labels."""
    n = batch * math.prod(image)
    pixels = (draws(n, SYNTHETIC_DATA, stream=0, position=number) >> np.uint32(24)).astype(np.float32)
    images = (pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    labels = draws(batch, SYNTHETIC_DATA, stream=1, position=number) % np.uint32(classes)
    x = torch.from_numpy(images.astype(np.float64)).reshape(batch, *image)
    return x.permute(0, 3, 1, 2), torch.from_numpy(labels.astype(np.int64))


def tensors(network):
    """Its parameters in Brigade's order as (kind, fan-in and fan-out, tensor in Brigade's layout, a view): kernels are
    [kh, kw, cin of a group, cout] (one cin if depthwise) or [in, out]."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            depthwise = module.groups == module.in_channels > 1
            fans = math.prod(module.kernel_size) * (2 if depthwise else module.weight.shape[1] + module.out_channels)
            yield "kernel", fans, module.weight, (2, 3, 1, 0)
        elif isinstance(module, torch.nn.Linear):
            yield "kernel", module.in_features + module.out_features, module.weight, (1, 0)
        elif isinstance(module, torch.nn.BatchNorm2d) and module.weight is not None:
            yield "gamma", None, module.weight, (0,)
        if getattr(module, "bias", None) is not None:
            yield "beta" if isinstance(module, torch.nn.BatchNorm2d) else "bias", None, module.bias, (0,)


@torch.no_grad()
def draw_weights(network, vary_all, disturbance=0.0, period=2, betas_from=2.5, gammas_to=1.0):
    """Glorot uniform kernels; biases and betas 0, gammas 1. If `vary_all`, biases -0.25 ... 0.25, betas from
    `betas_from` on (one wide), gammas 0.5 ... `gammas_to`. The first half of each `period` of a kernel's weights is increased by `disturbance` of itself, the
    second decreased."""
    for number, (kind, fans, tensor, order) in enumerate(tensors(network)):
        shape, one, two = [tensor.shape[axis] for axis in order], np.float32(1), np.float32(2)
        u = uniform(draws(tensor.numel(), INITIAL_WEIGHTS, stream=number, position=0 if kind == "kernel" else 1, seed=SEED))
        if kind == "kernel":
            values = ((two * u - one) * np.float32(np.sqrt(6.0 / fans))).astype(np.float64)
            values *= 1 + np.where(np.arange(values.size) % period < period // 2, disturbance, -disturbance)
        elif vary_all:
            half = np.float32(0.5)
            values = {"bias": (u - half) * half, "gamma": u * np.float32(gammas_to - 0.5) + half, "beta": u + np.float32(betas_from)}[kind]
        else:
            values = np.full(u.size, 1.0 if kind == "gamma" else 0.0)
        tensor.permute(order).copy_(torch.from_numpy(values.astype(np.float64)).reshape(shape))


def norms(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


# ---- Training

class KeyedDropout(torch.nn.Module):
    """With the masks that Brigade draws for this layer (its place in the list of layers) and step."""

    def __init__(self, rate, node):
        super().__init__()
        self.rate, self.node, self.step = rate, node, 0

    def forward(self, x):
        if not self.training:
            return x
        nhwc = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
        kept = uniform(draws(nhwc.numel(), DROPOUT, stream=self.node, position=self.step, seed=SEED)) >= np.float32(self.rate)
        mask = torch.from_numpy(kept.astype(np.float64)).reshape(nhwc.shape) / (1 - self.rate)
        return x * (mask.permute(0, 3, 1, 2) if x.dim() == 4 else mask)


def make_optimizer(parameters, options):
    if options["name"] == "sgd":
        return torch.optim.SGD(parameters, lr=options["learning_rate"], momentum=options["momentum"])
    return torch.optim.Adam(parameters, lr=options["learning_rate"], betas=(options["beta1"], options["beta2"]),
                            eps=options["epsilon"])


def train(name, image, classes, batch, optimizer_options, disturbance=0.0):
    """The losses of all steps, then the loss of an evaluation."""
    height, width, channels = image
    network = networks.build(name, (channels, height, width), classes).double()
    for index, module in enumerate(network):  # node 0 is the image
        if isinstance(module, torch.nn.Dropout):
            network[index] = KeyedDropout(module.p, index + 1)
    draw_weights(network, vary_all=False, disturbance=disturbance)
    optimizer = make_optimizer(network.parameters(), optimizer_options)
    batches = [synthetic_batch(i, image, classes, batch) for i in range(BATCHES)]
    losses = []
    for step in range(STEPS):
        for module in network:
            module.step = step
        x, labels = batches[step % BATCHES]
        loss = F.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        x, labels = batches[0]
        losses.append(F.cross_entropy(network.eval()(x), labels).item())
    return losses, networks.parameter_count(network)


def training_run(name, image, classes, batch, optimizer_options):
    losses, parameters = train(name, image, classes, batch, optimizer_options)
    # How far the losses move if each initial weight moves by 1e-6 of itself, some ten times float32's rounding. A run
    # that magnifies this up to the tolerance of the test compares luck, not arithmetic.
    sensitivity = 0.0
    for disturbance in (1e-6, -1e-6):
        disturbed, _ = train(name, image, classes, batch, optimizer_options, disturbance)
        sensitivity = max([sensitivity] + [abs(a - b) / a for a, b in zip(losses, disturbed)])
    assert sensitivity < 5e-5, f"{name}: rounding alone may change the losses by {sensitivity:.0e}"
    return {
        "network": name, "image": list(image), "classes": classes, "batch": batch, "batches": BATCHES, "seed": SEED,
        "optimizer": optimizer_options, "parameters": parameters, "losses": losses[:-1],
        "evaluation_loss": losses[-1], "sensitivity": sensitivity,
        "made_with": f"PyTorch {torch.__version__}, float64",
    }


# ---- One step

def digest(tensor, number):
    """Size, Euclidean norm, and the sums of all elements with random signs, drawn twice."""
    flat = tensor.detach().double().contiguous().view(-1)
    return [flat.numel(), flat.norm().item(), *[torch.dot(flat, s.double()).item() for s in random_signs(flat.numel(), number)]]


@functools.cache
def random_signs(size, number):
    bits = draws(size, SYNTHETIC_DATA, stream=2, position=number, seed=SEED)
    return [torch.from_numpy(1 - 2 * (bits >> np.uint32(bit) & np.uint32(1)).astype(np.int8)) for bit in (31, 30)]


def ranges(name):
    return {"betas_from": 1.5, "gammas_to": 1.5} if name in WIDER_DRAWS else {"betas_from": 2.5, "gammas_to": 1.0}


def network_of_step(name, dtype, disturbance=0.0, period=2):
    height, width, channels = STEP[name][0]
    network = networks.build(name, (channels, height, width), STEP_CLASSES, dropout=0.0).double()
    draw_weights(network, True, disturbance, period, **ranges(name))
    network.to(dtype)
    for module in norms(network):
        module.momentum = 1.0  # the running statistics become those of the batch
    return network


def step(name, number, network):
    """Everything that is compared, of batch `number`."""
    network.train().zero_grad()
    image, batch = STEP[name]
    x, labels = synthetic_batch(number, image, STEP_CLASSES, batch)
    x = x.to(next(network.parameters()).dtype)
    losses = F.cross_entropy(network(x), labels, reduction="none")
    losses.mean().backward()
    with torch.no_grad():
        scores = network.eval()(x)
    gradients = [tensor.grad.permute(order) for _, _, tensor, order in tensors(network)]
    statistics = [s for module in norms(network) for s in (module.running_mean, module.running_var)]
    return {"losses": losses.tolist(), "gradients": [digest(g, i) for i, g in enumerate(gradients)],
            "statistics": [digest(s, len(gradients) + i) for i, s in enumerate(statistics)],
            "evaluation_losses": F.cross_entropy(scores, labels, reduction="none").tolist(),
            "probabilities": scores.softmax(1).tolist()}


def errors(expected, actual):
    """How far two runs are apart, as the test measures it."""
    def relative(a, b):
        return max(abs(x - y) / abs(x) for x, y in zip(a, b))

    def of_tensors(key, floor):
        return [max(abs(x - y) for x, y in zip(a[1:], b[1:])) / max(a[1], floor) for a, b in zip(expected[key], actual[key])]

    whole = math.sqrt(sum(norm**2 for _, norm, _, _ in expected["gradients"]))
    gradients = of_tensors("gradients", 1e-4 * whole)
    return {"losses": relative(expected["losses"], actual["losses"]),
            "evaluation_losses": relative(expected["evaluation_losses"], actual["evaluation_losses"]),
            "statistics": max(of_tensors("statistics", 1e-3), default=0.0),
            "gradients_median": sorted(gradients)[len(gradients) // 2], "gradients_worst": max(gradients)}


def cut_by_relus(network, run):
    """The share of values that come to a ReLU below its edge while `run` runs."""
    cut, values = [], []

    def count(_, inputs):
        cut.append((inputs[0] <= 0).sum().item())
        values.append(inputs[0].numel())

    hooks = [module.register_forward_pre_hook(count) for module in network.modules()
             if isinstance(module, (torch.nn.ReLU, torch.nn.ReLU6))]
    run()
    for hook in hooks:
        hook.remove()
    return sum(cut) / sum(values)


def step_run(name):
    network = network_of_step(name, torch.float64)
    disturbances = DISTURBANCES[:1] if name in WIDER_DRAWS else DISTURBANCES
    rounded, *disturbed = [network_of_step(name, torch.float32, *disturbance) for disturbance in disturbances]
    for number in range(FIRST_BATCH.get(name, 0), BATCHES_TRIED):
        reference = step(name, number, rounded)
        if any(errors(reference, step(name, number, other))["gradients_worst"] > SMOOTH for other in disturbed):
            continue
        result = step(name, number, network)
        float32 = errors(result, reference)
        if float32["gradients_worst"] < SMOOTH:
            break
    else:
        sys.exit(f"{name}: gradients jump in each of {BATCHES_TRIED} batches. Take a smaller image?")
    cut = cut_by_relus(network, lambda: step(name, number, network))
    image, batch = STEP[name]
    return {"network": name, "image": list(image), "classes": STEP_CLASSES, "batch": batch, "batch_number": number,
            "seed": SEED, **ranges(name), "cut_by_relus": float(f"{cut:.2g}"), "made_with": f"PyTorch {torch.__version__}, float64",
            "errors_of_float32": {key: float(f"{value:.1e}") for key, value in float32.items()}, **result}


# ---- One step in bf16

def gradient_in(name, number, how):
    """Mean loss and the gradient of all parameters, end to end, of a step in float32 ("fp32"), in float32 with products
    in bf16 ("autocast"), or with everything in bf16 ("bf16")."""
    image, batch = STEP[name]
    height, width, channels = image
    network = networks.build(name, (channels, height, width), STEP_CLASSES, dropout=0.0).double()
    draw_weights(network, vary_all=True, **ranges(name))
    networks.clamp_for_relu6(network)
    network.to(torch.bfloat16 if how == "bf16" else torch.float32)
    x, labels = synthetic_batch(number, image, STEP_CLASSES, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        scores = network(x.to(torch.bfloat16 if how == "bf16" else torch.float32))
    loss = F.cross_entropy(scores.float(), labels)
    loss.backward()
    return loss.item(), torch.cat([tensor.grad.double().flatten() for _, _, tensor, _ in tensors(network)])


def bf16_run():
    """By network, how far PyTorch's bf16 is from its float32: in the loss, and the cosine of the angle between gradients."""
    result = {}
    for name in STEP:
        number = json.loads((HERE / f"step/{name}.json").read_text())["batch_number"]
        loss, gradient = gradient_in(name, number, "fp32")
        row = result[name] = {}
        for how in ("autocast", "bf16"):
            if (name, how) == ("alexnet", "bf16"):
                continue  # PyTorch 1.13 lacks its local response normalisation
            rough_loss, rough = gradient_in(name, number, how)
            row[how] = {"loss": float(f"{abs(rough_loss / loss - 1):.2g}"),
                        "cosine": float(f"{F.cosine_similarity(rough, gradient, dim=0).item():.4g}")}
        print(name, row, flush=True)
    return {"made_with": f"PyTorch {torch.__version__}", "networks": result}


# ---- Files

def compact(value, indent=""):
    """JSON with lists of numbers in one line, numbers rounded to what float32 can show."""
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, list) and any(isinstance(v, list) for v in value):
        return "[\n" + ",\n".join(f"{indent} {compact(v)}" for v in value) + "]"
    if isinstance(value, list):
        return "[" + ", ".join(compact(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f'{indent} "{key}": {compact(v, indent + " ")}' for key, v in value.items()) + "\n" + indent + "}"
    return json.dumps(value)


if __name__ == "__main__":
    for target in sys.argv[1:] or [*(f"step/{name}" for name in STEP), *(f"training/{name}" for name in TRAINING), "bf16"]:
        if target == "bf16":
            (HERE / "bf16.json").write_text(json.dumps(bf16_run(), indent=1) + "\n")
            continue
        kind, name = target.split("/")
        result = step_run(name) if kind == "step" else training_run(*TRAINING[name])
        text = compact(result) if kind == "step" else json.dumps(result, indent=1)
        (HERE / f"{target}.json").write_text(text + "\n")
        print(target, {key: value for key, value in result.items() if key in ("errors_of_float32", "sensitivity", "batch_number", "cut_by_relus")},
              flush=True)
