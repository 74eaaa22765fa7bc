"""Reads and checks the files of a run directory.

A live or killed run is a normal thing to look at: the last line of a log may be cut, the summary may be missing, one
rank may have written fewer steps than another. Such things are tolerated and become a sentence in `Run.notes`. What
cannot be read at all, or says something impossible, raises RunError in the form *problem (why). suggestion?*
"""
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

STEP_COLUMNS = [
    "epoch", "step", "start_s", "wait_data_s", "forward_s", "backward_s", "reduce_wait_s", "optimizer_s",
    "reduce_arrive_s", "step_s", "images", "loss", "learning_rate", "sent_bytes", "hidden_bytes", "staleness",
    "cpu_user_s", "cpu_system_s", "read_bytes", "written_bytes", "major_faults", "involuntary_switches", "peak_rss_bytes",
]
EPOCH_COLUMNS = [
    "epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_top5_accuracy", "learning_rate",
    "train_s", "val_s", "train_images", "val_images",
]
MAY_BE_ABSENT = ["staleness"]  # from logs of earlier versions: 0
MAY_BE_EMPTY = ["val_loss", "val_accuracy", "val_top5_accuracy"]
MAY_BE_NOT_FINITE = {"loss", "train_loss", "val_loss"}  # a run that diverged


class RunError(Exception):
    """A run that cannot be read; the message is for the user."""


@dataclass
class Run:
    path: Path
    info: dict  # run.json
    summary: dict | None  # summary.json; None: the run has not finished
    evaluation: dict | None  # evaluation.json
    epochs: pd.DataFrame  # EPOCH_COLUMNS; absent values are NaN
    ranks: dict[int, pd.DataFrame]  # of those that train: STEP_COLUMNS by rank, in the order of steps
    notes: list[str] = field(default_factory=list)
    servers: dict[int, pd.DataFrame] = field(default_factory=dict)  # the same of parameter servers: a row an update

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def options(self) -> dict:
        """Those of `brigade train`, resolved."""
        value = self.info.get("options")
        return value if isinstance(value, dict) else {}

    @property
    def asynchronous(self) -> bool:
        """Workers do not wait for one another's gradients: each gets its answer of the parameter servers."""
        return bool(self.servers) and self.options.get("async") == "yes"

    @property
    def sync_every(self) -> int:
        """Steps from one meeting of the ranks to the next: 1, but for local SGD."""
        return max(1, int(self.options.get("sync-every", 1))) if self.options.get("strategy") == "local-sgd" else 1

    def number(self, key: str, default: float = 0) -> float:
        """A number of run.json, or the default where it is absent."""
        value = self.info.get(key)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def load_run(path: str | Path) -> Run:
    path = Path(path)
    if not path.is_dir():
        raise RunError(f"{path} is no directory. Give the directory that `brigade train --run` named?")
    if not (path / "run.json").exists():
        raise RunError(f"{path} is no run (it holds no run.json). Give the directory that `brigade train --run` named?")
    notes: list[str] = []
    info = read_json(path / "run.json")
    run = Run(path, info, None, None, pd.DataFrame(columns=EPOCH_COLUMNS), {}, notes)
    run.summary = read_optional_json(path / "summary.json", notes)
    if run.summary is None:
        notes.append("The run has not finished (there is no summary.json): the numbers are those of the steps so far.")
    note_failures(path, run.number("process_start_s"), notes)
    run.evaluation = read_evaluation(path / "evaluation.json", notes)
    if (path / "epochs.csv").exists():
        run.epochs = read_log(path / "epochs.csv", EPOCH_COLUMNS, notes).drop_duplicates("epoch", keep="last")
    run.ranks, run.servers = read_ranks(path, int(run.number("ranks", 1)), info.get("roles") or [], notes)
    return run


def note_failures(path: Path, since_s: float, notes: list[str]) -> None:
    """What ranks of this start have said that gave up on others; nothing of earlier ones."""
    for file in sorted(path.glob("failure-*.json")):
        one = read_optional_json(file, notes)
        if one and as_number(one.get("time_s")) >= since_s:
            notes.append(f"Rank {one.get('rank')} on {one.get('host')} gave up in {one.get('phase')}, step {one.get('step')}, "
                         f"at {one.get('time')}: {one.get('problem')}")


def read_ranks(path: Path, ranks: int, roles: list[str], notes: list[str]):
    """The logs of the ranks that train, and of the parameter servers behind them."""
    started = max(ranks, len(roles))
    found = {int(match[1]): file for file in path.glob("steps-*.csv")
             if (match := re.fullmatch(r"steps-(\d+)", file.stem))}
    logs = {}
    for rank in sorted(rank for rank in found if rank < started):
        log = read_log(found[rank], STEP_COLUMNS, notes)
        if len(log):
            logs[rank] = log.drop_duplicates("step", keep="last").sort_values("step", ignore_index=True)
    servers = {rank: logs.pop(rank) for rank in list(logs) if rank >= ranks}
    if not logs:
        raise RunError(f"{path} holds no step yet (no steps-*.csv with a row). Has training begun?")
    if missing := [str(rank) for rank in range(ranks) if rank not in logs]:
        notes.append(f"{plural('Rank', missing)} {enumerate_words(missing)} of {ranks} logged no step; "
                     "the numbers are those of the other ranks.")
    if more := [str(rank) for rank in sorted(found) if rank >= started]:
        notes.append(f"The log of {plural('rank', more)} {enumerate_words(more)} is left out: the latest start of "
                     f"this run had {started} {plural('rank', range(started))}.")
    return logs, servers


def read_json(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}).") from None
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is damaged (line {error.lineno}: {error.msg}). Was it cut off or edited?") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged (it holds no JSON object). Was it edited?")
    return value


def read_optional_json(path: Path, notes: list[str]) -> dict | None:
    """None if the file is absent; None and a note if it cannot be used."""
    if not path.exists():
        return None
    try:
        return read_json(path)
    except RunError as error:
        notes.append(f"{error} It is left out.")
        return None


def read_evaluation(path: Path, notes: list[str]) -> dict | None:
    value = read_optional_json(path, notes)
    if value is None:
        return None
    try:
        classes = [{"name": str(c["name"]), "samples": int(c["samples"]), "correct": int(c["correct"])}
                   for c in value.get("classes", [])]
        confusion = np.array(value.get("confusion", []), dtype=float)
        if confusion.size and confusion.shape != (len(classes), len(classes)):
            raise ValueError(f"{len(classes)} classes, but a confusion matrix of shape {confusion.shape}")
        return {"split": str(value["split"]), "samples": int(value["samples"]), "loss": as_number(value["loss"]),
                "top1_accuracy": as_number(value["top1_accuracy"]), "top5_accuracy": as_number(value["top5_accuracy"]),
                "classes": classes, "confusion": confusion if confusion.size else None,
                "worst": [{"name": str(w["name"]), "index": int(w["index"]), "label": int(w["label"]),
                           "predicted": int(w["predicted"]), "loss": as_number(w["loss"])}
                          for w in value.get("worst", [])]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        notes.append(f"{path} is not what `brigade evaluate` writes ({why}). It is left out.")
        return None


def as_number(value) -> float:
    return float("nan") if value is None else float(value)  # JSON has no NaN: null


def whole_lines(path: Path, notes: list[str]) -> bytes:
    """A last line without its end is dropped."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}).") from None
    whole = data[:data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        notes.append(f"The last line of {path.name} is cut off and left out (the program was killed, or still runs).")
    return whole


def read_log(path: Path, columns: list[str], notes: list[str]) -> pd.DataFrame:
    """A CSV of numbers. Damage, but for a last line that is cut off, is an error that names the line."""
    whole = whole_lines(path, notes)
    if not whole.strip():
        return pd.DataFrame(columns=columns, dtype=float)
    header = whole[:whole.index(b"\n")].decode("utf-8", "replace").strip().split(",")
    if missing := [column for column in columns if column not in header and column not in MAY_BE_ABSENT]:
        raise RunError(f"{path} has no {plural('column', missing)} {enumerate_words(missing)} (its first line reads "
                       f"'{','.join(header)[:60]}…'). Was it written by another version?")
    if (table := read_if_sound(whole, header, columns)) is None:
        if fault := find_fault(whole, header, columns):
            raise RunError(f"{path}, {fault}. Remove the line?")
        table = parse(whole, columns)
    for column in ("epoch", "step"):
        table[column] = table[column].astype(np.int64)
    return table


def parse(whole: bytes, columns: list[str]) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(whole), usecols=lambda column: column in columns, dtype=np.float64)
    return table.reindex(columns=columns, fill_value=0.0)


def read_if_sound(whole: bytes, header: list[str], columns: list[str]) -> pd.DataFrame | None:
    """None if something looks odd (which a loss that is no number also does)."""
    if whole.count(b",") != (len(header) - 1) * whole.count(b"\n"):
        return None  # pandas would ignore columns too many
    try:
        table = parse(whole, columns)
    except (ValueError, pd.errors.ParserError):
        return None
    return table if np.isfinite(table.drop(columns=MAY_BE_EMPTY, errors="ignore").to_numpy()).all() else None


def find_fault(whole: bytes, header: list[str], columns: list[str]) -> str | None:
    """Where and why a log is damaged, read line by line; None if it is sound after all."""
    for number, line in enumerate(whole.decode("utf-8", "replace").splitlines()[1:], start=2):
        fields = line.split(",")
        if len(fields) != len(header):
            return f"line {number} has {len(fields)} {plural('column', fields)} instead of {len(header)}"
        for column, text in zip(header, fields):
            if column in columns and not is_sound(column, text):
                return f"line {number} says '{text[:20]}' for {column}"
    return None


def is_sound(column: str, text: str) -> bool:
    if text == "":
        return column in MAY_BE_EMPTY
    try:
        return bool(np.isfinite(float(text))) or column in MAY_BE_NOT_FINITE
    except ValueError:
        return False


def plural(word: str, items) -> str:
    return word if len(items) == 1 else word + "s"


def enumerate_words(words: list[str], most: int = 8) -> str:
    """'1', '1 and 2', '1, 2 and 3'; a long list is cut."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
