#!/usr/bin/env python3
"""One step of PyTorch, the peer of `brigade bench step`: the same networks, one row each.

    /usr/bin/python3 tests/peers/torch_step.py --network resnet50 mobilenet --batch-size 16 --threads 2
    /usr/bin/python3 tests/peers/torch_step.py --inference --json torch.json

Forward, backward and SGD with momentum (or the forward pass alone) in float32 and eager mode on synthetic images in
memory, by the rules of torch_train.py, all in PyTorch's favour: tcmalloc, both memory formats in turns, the faster one
counts. A row's number of parameters must be Brigade's, or the networks are not the same.
"""
import argparse
import json
import statistics
import sys
import time

import torch_train


def layers():
    """Functions that make pieces of networks; torch is imported late, after tcmalloc is in place."""
    from torch import nn

    def conv(i, o, kernel, stride=1, padding=0, bias=False, groups=1, act=nn.ReLU, norm=True):
        parts = [nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=bias)]
        if norm:
            parts.append(nn.BatchNorm2d(o))
        if act:
            parts.append(act(inplace=True))
        return nn.Sequential(*parts)

    class Residual(nn.Module):
        """act(body(x) + shortcut(x))"""

        def __init__(self, body, shortcut, act):
            super().__init__()
            self.body, self.shortcut, self.act = body, shortcut, act

        def forward(self, x):
            y = self.body(x)
            y += self.shortcut(x)
            return self.act(y)

    return nn, conv, Residual


def resnet(blocks, bottleneck):
    """He et al. 2016, table 1. Bottlenecks as in Keras (stride in the first 1x1, biases), else as in torchvision."""
    nn, conv, Residual = layers()
    bias, growth = bottleneck, 4 if bottleneck else 1
    parts, channels = [conv(3, 64, 7, 2, 3, bias), nn.MaxPool2d(3, 2, 1)], 64
    for stage, repeats in enumerate(blocks):
        width = 64 << stage
        for block in range(repeats):
            stride, out = 2 if stage > 0 and block == 0 else 1, growth * width
            if bottleneck:
                body = [conv(channels, width, 1, stride, 0, bias), conv(width, width, 3, 1, 1, bias),
                        conv(width, out, 1, 1, 0, bias, act=None)]
            else:
                body = [conv(channels, width, 3, stride, 1), conv(width, out, 3, 1, 1, act=None)]
            same = stride == 1 and channels == out
            shortcut = nn.Identity() if same else conv(channels, out, 1, stride, 0, bias, act=None)
            parts.append(Residual(nn.Sequential(*body), shortcut, nn.ReLU(inplace=True)))
            channels = out
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def vgg16():
    """Simonyan, Zisserman 2015, column D."""
    nn, conv, _ = layers()
    parts, channels = [], 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            parts.append(conv(channels, width, 3, 1, 1, bias=True, norm=False))
            channels = width
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *parts, nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4096, 1000))


def alexnet():
    """Krizhevsky 2014, the sizes of torchvision."""
    nn, conv, _ = layers()
    plain = {"bias": True, "norm": False}
    return nn.Sequential(
        conv(3, 64, 11, 4, 2, **plain), nn.MaxPool2d(3, 2), conv(64, 192, 5, 1, 2, **plain), nn.MaxPool2d(3, 2),
        conv(192, 384, 3, 1, 1, **plain), conv(384, 256, 3, 1, 1, **plain), conv(256, 256, 3, 1, 1, **plain),
        nn.MaxPool2d(3, 2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(9216, 4096), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 1000))


def mobilenet():
    """Howard et al. 2017, table 1."""
    nn, conv, _ = layers()
    parts, channels = [conv(3, 32, 3, 2, 1, act=nn.ReLU6)], 32
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
                          (1024, 1)):
        parts += [conv(channels, channels, 3, stride, 1, groups=channels, act=nn.ReLU6),
                  conv(channels, width, 1, act=nn.ReLU6)]
        channels = width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.001), nn.Linear(1024, 1000))


def mobilenet_v2():
    """Sandler et al. 2018, table 2."""
    nn, conv, Residual = layers()
    parts, channels = [conv(3, 32, 3, 2, 1, act=nn.ReLU6)], 32
    for expansion, width, repeats, first_stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(repeats):
            stride, inner = first_stride if block == 0 else 1, expansion * channels
            body = [conv(channels, inner, 1, act=nn.ReLU6)] if expansion > 1 else []
            body += [conv(inner, inner, 3, stride, 1, groups=inner, act=nn.ReLU6), conv(inner, width, 1, act=None)]
            body = nn.Sequential(*body)
            parts.append(Residual(body, nn.Identity(), nn.Identity()) if stride == 1 and channels == width else body)
            channels = width
    parts.append(conv(320, 1280, 1, act=nn.ReLU6))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


# Name: maker, learnt values as `brigade models` prints them.
LARGE = {
    "alexnet": (alexnet, 61100840),
    "mobilenet": (mobilenet, 4231976),
    "mobilenet-v2": (mobilenet_v2, 3504872),
    "resnet18": (lambda: resnet((2, 2, 2, 2), False), 11689512),
    "resnet34": (lambda: resnet((3, 4, 6, 3), False), 21797672),
    "resnet50": (lambda: resnet((3, 4, 6, 3), True), 25583592),
    "vgg16": (vgg16, 138357544),
}
SMALL = {"fashion-cnn": 455018, "lenet5": 61706, "tiny-model1": 606088, "tiny-model2": 1056136}


def build(name):
    """The network, its image (channels, height, width) and the number of classes."""
    if name in LARGE:
        return LARGE[name][0](), (3, 224, 224), 1000
    network, image = torch_train.build(name)
    return network, image, torch_train.NETWORKS[name][1]


class Step:
    """One network in one memory format."""

    def __init__(self, options, name, memory_format):
        import torch
        torch.manual_seed(1)
        layout = torch.channels_last if memory_format == "channels-last" else torch.contiguous_format
        network, image, classes = build(name)
        self.network = network.to(memory_format=layout).train(not options.inference)
        self.parameters = sum(p.numel() for p in network.parameters())
        expected = LARGE[name][1] if name in LARGE else SMALL[name]
        if self.parameters != expected:
            sys.exit(f"{name} has {self.parameters} parameters here and {expected} in Brigade")
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, foreach=True)
        self.loss = torch.nn.CrossEntropyLoss()
        self.batches = [(torch.rand(options.batch_size, *image).mul_(2).sub_(1).contiguous(memory_format=layout),
                         torch.randint(classes, (options.batch_size,))) for _ in range(4)]
        self.training, self.torch, self.count = not options.inference, torch, 0

    def seconds(self):
        images, labels = self.batches[self.count % len(self.batches)]
        self.count += 1
        start = time.perf_counter()
        if self.training:
            loss = self.loss(self.network(images), labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        else:
            with self.torch.inference_mode():
                loss = self.loss(self.network(images), labels)
        value = loss.item()
        elapsed = time.perf_counter() - start
        if value != value:
            sys.exit("the loss is not a number")
        return elapsed


def measure(options, name):
    steps = {memory_format: Step(options, name, memory_format) for memory_format in torch_train.FORMATS}
    seconds = {memory_format: [] for memory_format in steps}
    for repetition in range(-options.warmup, options.repetitions):
        for memory_format, step in steps.items():
            elapsed = step.seconds()
            if repetition >= 0:
                seconds[memory_format].append(elapsed)
    medians = {memory_format: statistics.median(values) for memory_format, values in seconds.items()}
    best = min(medians, key=medians.get)
    return {"network": name, "mode": "inference" if options.inference else "training", "batch_size": options.batch_size,
            "threads": options.threads, "parameters": steps[best].parameters, "format": best, "step_s": medians[best],
            "images_per_second": options.batch_size / medians[best], "step_s_of_format": medians}


def main():
    names = sorted([*LARGE, *torch_train.NETWORKS])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inference", action="store_true", help="forward only")
    parser.add_argument("--repetitions", type=int, default=7, help="of each memory format")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--json", help="FILE: the rows, for programs")
    parser.add_argument("--no-tcmalloc", action="store_true", help="use the C library's allocator")
    options = parser.parse_args()
    torch_train.start_again_with_tcmalloc(options)
    import torch
    torch.set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, {options.threads} threads, {torch_train.allocator()}, "
          f"batch {options.batch_size}")
    print(f"{'network':<16}{'mode':<11}{'parameters':>12}{'ms':>11}{'images/s':>11}  format")
    rows = []
    for name in options.network:
        rows.append(row := measure(options, name))
        print(f"{name:<16}{row['mode']:<11}{row['parameters']:>12}{1e3 * row['step_s']:>11.2f}"
              f"{row['images_per_second']:>11.1f}  {row['format']}", flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(rows, out, indent=2)


if __name__ == "__main__":
    main()
