#!/usr/bin/env python3
"""Training throughput of PyTorch, the peer of `brigade train`, on the same networks, threads and ranks.

    /usr/bin/python3 tests/peers/torch_train.py --network fashion-cnn --batch 64 --ranks 2 --threads 1

Forward, backward, gradient averaging and SGD with momentum, in float32 and eager mode, on synthetic images that
are already in memory: neither input nor logging is counted. Every choice that could slow PyTorch down
is made in its favour:

- tcmalloc is preloaded where it is installed: glibc returns large blocks to the system, and the page faults of
  fetching them anew would cost up to half of the throughput;
- both memory formats are measured, their blocks of steps taking turns, so that a noisy machine hits both alike;
- fused ("foreach") SGD, gradients dropped rather than zeroed, gradients kept in the reducer's buckets, and
  no broadcast of batch-norm statistics each step;
- each rank gets its own cores if there are enough of them.

A rank's time is that of the slowest one. Prints one JSON object; the figure is the median over blocks.
"""
import argparse
import glob
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time

SMALL = ("fashion-cnn", "lenet5", "tiny-model1", "tiny-model2")
FORMATS = ("channels-last", "contiguous")
RESIDENT_BATCHES = 8  # different ones, so that no batch lives in a cache


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=SMALL, default="fashion-cnn")
    parser.add_argument("--batch", type=int, default=64, help="images of one step on each rank")
    parser.add_argument("--ranks", type=int, default=1, help="processes; from 2: DistributedDataParallel over gloo")
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    parser.add_argument("--format", choices=[*FORMATS, "best"], default="best", help="of activations in memory")
    for option, value in (("--channels-last", FORMATS[0]), ("--no-channels-last", FORMATS[1])):
        parser.add_argument(option, dest="format", action="store_const", const=value, help=f"is --format {value}")
    parser.add_argument("--blocks", type=int, default=9, help="measured, of each format")
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    parser.add_argument("--warmup", type=int, default=10, help="steps before the first block")
    parser.add_argument("--no-tcmalloc", action="store_true", help="use the C library's allocator")
    options = parser.parse_args()
    for name in ("batch", "ranks", "threads", "blocks", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def allocator():
    with open("/proc/self/maps") as maps:
        return "tcmalloc" if "libtcmalloc" in maps.read() else "libc"


def require_torch():
    if importlib.util.find_spec("torch") is None:
        sys.exit(f"{sys.executable} has no torch. Use Debian's /usr/bin/python3 with python3-torch?")


def start_again_with_tcmalloc(options):
    """Replaces this process by one with the allocator and the number of threads set from its first instruction."""
    found = sorted(glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4") + glob.glob("/usr/lib*/libtcmalloc_minimal.so.4"))
    preload = [] if options.no_tcmalloc else found[:1]
    if os.environ.get("BRIGADE_PEER_STARTED") or (not preload and not os.environ.get("LD_PRELOAD")):
        return
    environment = dict(os.environ, BRIGADE_PEER_STARTED="1", OMP_NUM_THREADS=str(options.threads))
    environment["LD_PRELOAD"] = ":".join(preload)
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


class Trainer:
    """One network in one memory format, with its optimizer and its batches."""

    def __init__(self, options, memory_format):
        import networks
        import torch
        torch.manual_seed(1)
        network = networks.build(options.network)
        _, image, classes, self.parameters = networks.NETWORKS[options.network]
        layout = torch.channels_last if memory_format == "channels-last" else torch.contiguous_format
        self.network = network.to(memory_format=layout).train()
        if options.ranks > 1:
            self.network = torch.nn.parallel.DistributedDataParallel(
                self.network, broadcast_buffers=False, gradient_as_bucket_view=True)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9, foreach=True)
        self.loss = torch.nn.CrossEntropyLoss()
        self.batches = [(torch.randn(options.batch, *image).to(memory_format=layout),
                         torch.randint(classes, (options.batch,))) for _ in range(RESIDENT_BATCHES)]

    def steps(self, count):
        for step in range(count):
            images, labels = self.batches[step % RESIDENT_BATCHES]
            loss = self.loss(self.network(images), labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return loss.item()


def own_cores(rank, options):
    """Cores of this rank alone, if there are enough for all."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= options.ranks * options.threads:
        os.sched_setaffinity(0, cores[rank * options.threads:(rank + 1) * options.threads])


def measure(rank, options, directory):
    """Runs on each rank; rank 0 writes the result."""
    own_cores(rank, options)
    import torch
    torch.set_num_threads(options.threads)
    distributed = torch.distributed
    if options.ranks > 1:
        distributed.init_process_group("gloo", init_method=f"file://{directory}/rendezvous", rank=rank,
                                       world_size=options.ranks)
    barrier = distributed.barrier if options.ranks > 1 else lambda: None

    formats = FORMATS if options.format == "best" else (options.format,)
    trainers = {name: Trainer(options, name) for name in formats}
    for trainer in trainers.values():
        trainer.steps(max(options.warmup, 1))
    images_per_second = {name: [] for name in formats}
    for _ in range(options.blocks):
        for name, trainer in trainers.items():
            barrier()
            start = time.perf_counter()
            loss = trainer.steps(options.steps)
            barrier()
            seconds = time.perf_counter() - start
            images_per_second[name].append(options.ranks * options.batch * options.steps / seconds)
            if loss != loss:
                sys.exit(f"rank {rank}: the loss is not a number")
    if rank == 0:
        with open(os.path.join(directory, "result.json"), "w") as out:
            json.dump({"images_per_second": images_per_second, "torch": torch.__version__,
                       "parameters": trainers[formats[0]].parameters, "allocator": allocator()}, out)
    if options.ranks > 1:
        distributed.destroy_process_group()


def main():
    options = arguments()
    require_torch()
    start_again_with_tcmalloc(options)
    with tempfile.TemporaryDirectory() as directory:
        if options.ranks == 1:
            measure(0, options, directory)
        else:
            import torch.multiprocessing
            torch.multiprocessing.spawn(measure, (options, directory), nprocs=options.ranks)
        with open(os.path.join(directory, "result.json")) as file:
            result = json.load(file)
    blocks = result.pop("images_per_second")
    medians = {name: statistics.median(values) for name, values in blocks.items()}
    best = max(medians, key=medians.get)
    print(json.dumps({
        "network": options.network, "ranks": options.ranks, "threads": options.threads, "batch_per_rank": options.batch,
        "format": best, "images_per_second": round(medians[best], 1),
        "slowest_block": round(min(blocks[best]), 1), "fastest_block": round(max(blocks[best]), 1),
        "median_of_format": {name: round(value, 1) for name, value in medians.items()},
        "blocks": options.blocks, "steps_per_block": options.steps, **result}))


if __name__ == "__main__":
    main()
