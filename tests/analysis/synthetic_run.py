"""Runs with known answers: writes a run directory as src/telemetry and src/training do, from a simulated clock.

Also a way to look at the report without training:

    /usr/bin/python3 tests/analysis/synthetic_run.py DIRECTORY [RANKS]      writes the logs of a run into DIRECTORY
"""
import json
import math
import pathlib
import random
import sys
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "analysis"))

STEP_HEADER = (
    "epoch,step,start_s,wait_data_s,forward_s,backward_s,reduce_wait_s,optimizer_s,reduce_arrive_s,step_s,images,loss,"
    "learning_rate,sent_bytes,hidden_bytes,staleness,cpu_user_s,cpu_system_s,read_bytes,written_bytes,major_faults,involuntary_switches,"
    "peak_rss_bytes\n")
EPOCH_HEADER = (
    "epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,val_top5_accuracy,learning_rate,train_s,val_s,"
    "train_images,val_images\n")
BEFORE_THE_SUM = ("wait_data", "forward", "backward")
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


@dataclass
class Synthetic:
    """A run to write. Times are seconds; a step is data, forward, backward, sum of gradients, optimizer, rest."""
    ranks: int = 2
    epochs: int = 2
    steps_per_epoch: int = 50
    images: int = 64  # a step, of each rank
    ranks_per_host: int = 2
    sent_bytes: int = 1820072  # of each rank, a step
    hidden_bytes: int = 910036
    staleness: tuple = (0,)  # of the gradients, in turn
    options: dict = field(default_factory=dict)
    between: str = "ring"
    node_memory: bool = True
    wire: str = "fp32"
    buckets: tuple = (2**18,) * 6 + (247208,)  # bytes of the sums of a step
    wait_data_s: float = 0.001
    forward_s: float = 0.010
    backward_s: float = 0.020
    exchange_s: float = 0.003
    optimizer_s: float = 0.002
    rest_s: float = 0.0005
    validation_s: float = 0.3
    late: dict = field(default_factory=dict)  # (rank, "wait_data" | "forward" | "backward") -> seconds longer
    noise: float = 0.0  # relative
    cold_steps: int = 5  # at first, steps take twice as long
    validates: bool = True
    finished: bool = True
    evaluated: bool = True

    @property
    def step_s(self) -> float:
        """Of a steady step, if no rank is late."""
        return self.wait_data_s + self.forward_s + self.backward_s + self.exchange_s + self.optimizer_s + self.rest_s


def write_run(directory, run: Synthetic, first_epoch: int = 1) -> pathlib.Path:
    """`first_epoch` > 1: as after a resume, the rows are appended and the clock begins again."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows, epochs, seconds = simulate(run, first_epoch)
    for rank in range(run.ranks):
        append(directory / f"steps-{rank:05}.csv", STEP_HEADER, rows[rank])
    append(directory / "epochs.csv", EPOCH_HEADER, epochs)
    write_json(directory / "run.json", run_info(run))
    if run.finished:
        write_json(directory / "summary.json", summary(run, seconds))
    if run.evaluated:
        write_json(directory / "evaluation.json", evaluation())
    return directory


def simulate(run: Synthetic, first_epoch: int):
    """The ranks' clocks: all leave a sum of gradients together, `exchange_s` after the last one has arrived."""
    draw = random.Random(first_epoch)
    rows, epochs = [[] for _ in range(run.ranks)], []
    now = [1e-5 * rank for rank in range(run.ranks)]

    for epoch in range(first_epoch, run.epochs + 1):
        for step in range((epoch - 1) * run.steps_per_epoch, epoch * run.steps_per_epoch):
            cold = 2 if (epoch - first_epoch) * run.steps_per_epoch + step % run.steps_per_epoch < run.cold_steps else 1

            def duration(phase, rank):
                disturbed = getattr(run, phase + "_s") * (1 + run.noise * draw.gauss(0, 1) ** 2)
                return cold * disturbed + run.late.get((rank, phase), 0)

            phases = [[duration(phase, rank) for phase in BEFORE_THE_SUM] for rank in range(run.ranks)]
            arrive = [now[rank] + sum(phases[rank]) for rank in range(run.ranks)]
            leave = max(arrive) + duration("exchange", 0)
            for rank in range(run.ranks):
                end = leave + run.optimizer_s + run.rest_s
                looks = step % 10 == 9  # the counters are looked at now and then
                rows[rank].append(
                    ",".join([str(epoch), str(step), f"{now[rank]:.6f}", *(f"{s:.6f}" for s in phases[rank]),
                              f"{leave - arrive[rank]:.6f}", f"{run.optimizer_s:.6f}", f"{arrive[rank]:.6f}",
                              f"{end - now[rank]:.6f}", str(run.images), f"{loss_at(step, run):.9g}", "0.05", str(run.sent_bytes),
                              str(run.hidden_bytes), str(run.staleness[(step + rank) % len(run.staleness)]),
                              f"{0.4 if looks else 0:.6f}", "0.000000", "0", "0", "0", "3" if looks else "0",
                              str(100_000_000 + rank)]))
                now[rank] = end
        images = run.ranks * run.images * run.steps_per_epoch
        val = f"{0.6 / epoch:.9g},{1 - 0.2 / epoch:.9g},0.99" if run.validates else ",,"
        epochs.append(f"{epoch},{epoch * run.steps_per_epoch},{0.7 / epoch:.9g},{1 - 0.25 / epoch:.9g},{val},0.05,"
                      f"{run.steps_per_epoch * run.step_s:.6f},{run.validation_s if run.validates else 0:.6f},{images},"
                      f"{10000 if run.validates else 0}")
        now = [max(now) + run.validation_s] * run.ranks
    return rows, epochs, max(now)


def loss_at(step: int, run: Synthetic) -> float:
    return 0.2 + 2.1 * math.exp(-3.0 * step / run.steps_per_epoch) * (1 + 0.1 * math.sin(7.0 * step))


def run_info(run: Synthetic) -> dict:
    return {"schema_version": 1, "command_line": "brigade train --dataset datasets/<x> --run runs/y",
            "started": "2025-01-01T12:00:00Z", "process_start_s": 1735732800, "network": "fashion-cnn",
            "dataset": "datasets/fashion-mnist", "backend": "host", "ranks": run.ranks, "threads_per_rank": 1,
            "hosts": [f"node{rank // run.ranks_per_host}" for rank in range(run.ranks)], "parameters": 455018,
            "global_batch": run.ranks * run.images, "micro_batches": run.ranks, "steps_per_epoch": run.steps_per_epoch,
            "sums": [{"bytes": n, "node_memory": run.node_memory, "between": run.between, "wire": run.wire} for n in run.buckets],
            "options": {"epochs": str(run.epochs), "learning-rate": "0.05", **run.options},
            "build": {"version": "0.1.0", "compiler": "gcc 12"}, "environment": {"OMP_NUM_THREADS": "1"}}


def summary(run: Synthetic, seconds: float) -> dict:
    train_s = seconds - run.epochs * run.validation_s
    return {"schema_version": 1, "exit_reason": "done", "epochs": run.epochs, "steps": run.epochs * run.steps_per_epoch,
            "train_loss": 0.7 / run.epochs, "train_accuracy": 1 - 0.25 / run.epochs, "val_loss": 0.6 / run.epochs,
            "val_accuracy": 1 - 0.2 / run.epochs, "val_top5_accuracy": 0.99, "startup_s": 0.31, "train_s": train_s,
            "val_s": run.epochs * run.validation_s, "total_s": seconds + 0.31,
            "images_per_second": run.epochs * run.steps_per_epoch * run.ranks * run.images / train_s,
            "peak_rss_bytes": 100_000_000 + run.ranks - 1}


def evaluation() -> dict:
    """1,000 images of each class; 60 shirts taken for T-shirts, and 10 of each class taken for the next one."""
    confusion = [[0] * 10 for _ in range(10)]
    for label in range(10):
        confusion[label][(label + 1) % 10] += 10
        confusion[label][label] = 990
    confusion[6][0], confusion[6][6] = 60, 930
    return {"split": "test", "samples": 10000, "loss": 0.25, "top1_accuracy": 0.984, "top5_accuracy": 0.999,
            "classes": [{"name": name, "samples": 1000, "correct": confusion[i][i]} for i, name in enumerate(CLASSES)],
            "confusion": confusion,
            "worst": [{"name": "t10k-images:4<2>", "index": 42, "label": 6, "predicted": 0, "loss": 9.5}]}


def write_json(path, value) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def append(path, header: str, rows: list[str]) -> None:
    with open(path, "a", encoding="utf-8") as out:
        if out.tell() == 0:
            out.write(header)
        out.writelines(row + "\n" for row in rows)


if __name__ == "__main__":
    ranks = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    write_run(sys.argv[1], Synthetic(ranks=ranks, epochs=6, steps_per_epoch=300, noise=0.06,
                                     late={(1, "backward"): 0.004}))
