"""Tables: CSV files in RUN/report, and text for the terminal."""
import os
from pathlib import Path

import numpy as np
import pandas as pd

from . import servers, words
from .aggregate import Analysis, phase_table, rank_table, summary_row


def write_text(path: Path, text: str) -> None:
    """Beside its final name, then renamed: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def write_tables(a: Analysis, directory: Path) -> None:
    for name, table in {"phases": phase_table(a), "ranks": rank_table(a), "epochs": a.run.epochs,
                        "summary": pd.DataFrame([summary_row(a)])}.items():
        write_text(directory / f"{name}.csv", table.to_csv(index=False, float_format="%.9g"))
    if a.run.servers:
        write_text(directory / "servers.csv", servers.server_table(a.run).to_csv(index=False, float_format="%.9g"))


def text_summary(a: Analysis) -> str:
    row = summary_row(a)
    time = f"{words.seconds(row['total_s'])} in all" if np.isfinite(row["total_s"]) else "not finished"
    parts = [f"{words.seconds(row[key])} {what}" for key, what in
             (("startup_s", "start-up"), ("train_s", "training"), ("val_s", "validation")) if np.isfinite(row[key])]
    lines = [
        f"{row['run']}: {row['network']}, {words.times(row['epochs'], 'epoch')}, {words.times(row['steps'], 'step')}, "
        f"{row['exit_reason']}",
        f"  accuracy    {words.accuracy(a)}",
        f"  throughput  {words.count(row['images_per_second'])} images/s (median step; 10 % to 90 %: "
        f"{words.count(row['images_per_second_p10'])} to {words.count(row['images_per_second_p90'])}; "
        f"over all of training: {words.count(row['mean_images_per_second'])})",
        f"  time        {time}: {', '.join(parts)}",
        f"  ranks       {words.machines(a)}, peak memory {words.bytes_(row['peak_rss_bytes'])} a rank",
        f"  {words.where_time_went(a)}",
        f"  {words.who_is_late(a)}",
        *(f"  {sentence}" for sentence in servers.about_servers(a)),
        *([f"  {shared}"] if (shared := words.busy_cores(a)) else []),
        *(f"  note: {note}" for note in a.notes),
    ]
    return "\n".join(lines)


COMPARED = [  # title, how to say it
    ("run", lambda row: row["run"]),
    ("network", lambda row: row["network"]),
    ("ranks", lambda row: f"{row['ranks']} × {row['threads_per_rank']}"),
    ("batch", lambda row: words.count(row["global_batch"])),
    ("epochs", lambda row: str(row["epochs"])),
    ("accuracy", lambda row: words.percent(row["accuracy"], 2)),
    ("of", lambda row: row["accuracy_of"]),
    ("loss", lambda row: f"{row['loss']:.4f}" if np.isfinite(row["loss"]) else words.MISSING),
    ("start-up", lambda row: words.seconds(row["startup_s"])),
    ("training", lambda row: words.seconds(row["train_s"])),
    ("images/s", lambda row: words.count(row["images_per_second"])),
    ("per rank", lambda row: words.count(row["images_per_second"] / max(row["ranks"], 1))),
    ("exit", lambda row: row["exit_reason"]),
]
LEFT_ALIGNED = {"run", "network", "of", "exit"}


def comparison(rows: list[dict]) -> str:
    """A table of runs, one a line; `ranks` is ranks × threads of each."""
    titles = [title for title, _ in COMPARED]
    cells = [titles] + [[str(say(row)) for _, say in COMPARED] for row in rows]
    return align(cells, left=[column for column, title in enumerate(titles) if title in LEFT_ALIGNED])


def align(lines: list[list[str]], left: int | list[int]) -> str:
    """Lines of a table in columns; `left`: which are flush left, or how many of the first ones."""
    left = range(left) if isinstance(left, int) else left
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(width) if column in left else text.rjust(width)
                               for column, (text, width) in enumerate(zip(line, widths))).rstrip() for line in lines)
