#!/usr/bin/env python3
"""One step of PyTorch, the peer of `brigade bench step`: the same networks, one row each.

    /usr/bin/python3 tests/peers/torch_step.py --network resnet50 mobilenet --batch-size 16 --threads 2
    /usr/bin/python3 tests/peers/torch_step.py --inference --batch-size 1 --json torch.json

Forward, backward and SGD with momentum (or the forward pass alone) on synthetic images in memory, by the rules of
torch_train.py, all in PyTorch's favour: tcmalloc, and every way to run the network takes turns with the others; the
fastest counts. In training that is both memory formats, with --compile also compiled; in inference also traced and
frozen, and that optimised for inference. Each network has a process of its own, and the memory of the fastest way is that
of another process that does nothing else.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import torch_train

FORMATS = torch_train.FORMATS
RESIDENT_BATCHES = 4  # different ones, so that no batch lives in a cache


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", metavar="NAME", help="as `brigade models` lists them; all if left out")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inference", action="store_true", help="forward only")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: autocast")
    parser.add_argument("--compile", action="store_true", help="try torch.compile, too (from PyTorch 2)")
    parser.add_argument("--repetitions", type=int, default=7, help="of each way to run the network")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--variants", nargs="+", help="only these ways, as printed in the last column")
    parser.add_argument("--no-memory", action="store_true", help="skip the process that measures memory")
    parser.add_argument("--json", help="FILE: the rows, for programs")
    parser.add_argument("--no-tcmalloc", action="store_true", help="use the C library's allocator")
    parser.add_argument("--measure-here", metavar="NAME", help=argparse.SUPPRESS)  # what the processes are started with
    options = parser.parse_args()
    if options.batch_size < 1 or options.threads < 1 or options.repetitions < 1 or options.warmup < 0:
        parser.error("sizes and counts must be at least 1")
    return options


# ---- In the process of one network

class Step:
    """One network, run in one way: "channels-last", "contiguous frozen", ..."""

    def __init__(self, options, name, variant):
        import networks
        import torch
        torch.manual_seed(1)
        memory_format, _, how = variant.partition(" ")
        layout = torch.channels_last if memory_format == "channels-last" else torch.contiguous_format
        network = networks.build(name, exact_padding=False).to(memory_format=layout).train(not options.inference)
        if options.precision == "bf16" and not options.inference and int(torch.__version__.split(".")[0]) < 2:
            networks.clamp_for_relu6(network)
        _, image, classes, self.parameters = networks.NETWORKS[name]
        self.torch, self.options, self.count = torch, options, 0
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, foreach=True)
        self.loss = torch.nn.CrossEntropyLoss()
        self.batches = [(torch.rand(options.batch_size, *image).mul_(2).sub_(1).contiguous(memory_format=layout),
                         torch.randint(classes, (options.batch_size,))) for _ in range(RESIDENT_BATCHES)]
        self.network = self.prepared(network, how)

    def prepared(self, network, how):
        torch = self.torch
        if how == "compiled":
            return torch.compile(network)
        if how in ("frozen", "optimised"):
            with torch.no_grad(), self.autocast():
                network = torch.jit.freeze(torch.jit.trace(network, self.batches[0][0]))
                if how == "optimised":
                    network = torch.jit.optimize_for_inference(network)
        return network

    def autocast(self):
        on = self.options.precision == "bf16"
        return self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=on, cache_enabled=not self.options.inference)

    def seconds(self):
        images, labels = self.batches[self.count % len(self.batches)]
        self.count += 1
        start = time.perf_counter()
        if self.options.inference:
            with self.torch.inference_mode(), self.autocast():
                value = self.network(images)[0, 0].item()
        else:
            with self.autocast():
                loss = self.loss(self.network(images), labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            value = loss.item()
        elapsed = time.perf_counter() - start
        if value != value:
            sys.exit("the loss is not a number")
        return elapsed


def variants(options):
    ways = [""] + (["frozen", "optimised"] if options.inference else []) + (["compiled"] if options.compile else [])
    return [f"{memory_format} {way}".strip() for way in ways for memory_format in FORMATS]


def working(options, name):
    """The ways of running the network that this PyTorch can do. One alone must work."""
    steps = {}
    for variant in options.variants or variants(options):
        try:
            step = Step(options, name, variant)
            step.seconds()
            steps[variant] = step
        except RuntimeError as error:
            if options.variants:
                raise
            print(f"{name}, {variant}: skipped ({str(error).strip().splitlines()[-1]})", file=sys.stderr)
    return steps or sys.exit(f"this PyTorch can run {name} in no way (see above). Use another --precision?")


def measure(options, name):
    import torch
    torch.set_num_threads(options.threads)
    steps = working(options, name)
    seconds = {variant: [] for variant in steps}
    for repetition in range(1 - options.warmup, options.repetitions):
        for variant, step in steps.items():
            elapsed = step.seconds()
            if repetition >= 0:
                seconds[variant].append(elapsed)
    medians = {variant: statistics.median(values) for variant, values in seconds.items()}
    best = min(medians, key=medians.get)
    return {"network": name, "mode": "inference" if options.inference else "training", "precision": options.precision,
            "batch_size": options.batch_size, "threads": options.threads, "parameters": steps[best].parameters,
            "variant": best, "step_s": medians[best], "images_per_second": options.batch_size / medians[best],
            "step_s_of_variant": medians, "torch": torch.__version__, "allocator": torch_train.allocator(),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


# ---- In the process that was called

def in_own_process(name, *overriding):
    """Later options win, so those of this process come first."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as result:
        command = [sys.executable, __file__, *sys.argv[1:], *overriding, "--measure-here", name, "--json", result.name]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"{name} could not be measured")
        return json.load(result)


def measured(options, name):
    row = in_own_process(name)
    alone = [] if options.no_memory else [in_own_process(name, "--variants", row["variant"], "--repetitions", "2")]
    row["peak_rss_bytes"] = alone[0]["peak_rss_bytes"] if alone else None
    return row


def main():
    options = arguments()
    torch_train.require_torch()
    if options.measure_here:
        torch_train.start_again_with_tcmalloc(options)
        row = measure(options, options.measure_here)
        with open(options.json, "w") as out:
            json.dump(row, out)
        return
    import networks
    names = options.network or list(networks.NETWORKS)
    if unknown := set(names) - set(networks.NETWORKS):
        sys.exit(f"there is no network {', '.join(unknown)}. Choose from {', '.join(networks.NETWORKS)}?")
    print(f"{options.threads} threads, batch {options.batch_size}, {options.precision}")
    print(f"{'network':<20}{'mode':<11}{'parameters':>12}{'ms':>11}{'images/s':>11}{'peak MB':>10}  way")
    rows = []
    for name in names:
        rows.append(row := measured(options, name))
        memory = f"{row['peak_rss_bytes'] / 1e6:.0f}" if row["peak_rss_bytes"] else "-"
        print(f"{name:<20}{row['mode']:<11}{row['parameters']:>12}{1e3 * row['step_s']:>11.2f}"
              f"{row['images_per_second']:>11.1f}{memory:>10}  {row['variant']}", flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(rows, out, indent=2)


if __name__ == "__main__":
    main()
