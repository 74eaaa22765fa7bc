"""What `brigade bench io --output DIR` measured: throughput against each parameter, and formats against each other.

A measurement is one repetition of one point of the sweep, over all ranks: images are added up, and the time is the
slowest rank's. Regressions are over measurements, not over their means, so that p tells what noise allows to say.
"""
import io
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from .load import RunError, enumerate_words, plural, whole_lines

POINT = ["format", "reader", "order", "cache", "batch_size", "batches", "dataset_images", "ranks", "pipeline", "prefetch",
         "data_threads", "emulated_step_s"]
WORDS = ["format", "reader", "order", "cache", "pipeline", "reader_used"]  # the other columns are numbers
SUMMED = ["images", "stored_bytes", "read_bytes", "major_faults"]
STAGES = ["open_s", "read_s", "decode_s", "augment_s"]
MEASURED = ["seconds", *STAGES, "wait_data_s", "compute_s", "batch_p50_s", "batch_p99_s", "utilisation",
            "resident_before", *SUMMED]
NEEDED = [*POINT, "reader_used", "repetition", "rank", *MEASURED]

# What throughput may depend on, and how to call it. `images_read`, by each rank, is
# batch size x batches.
PARAMETERS = {"batch_size": "batch size", "batches": "batches", "images_read": "images read",
              "dataset_images": "dataset size", "repetition": "repetition", "ranks": "ranks"}
FORMATS = {"files": "image files", "tfrecord": "TFRecord", "raw": "raw shards", "encoded": "encoded shards"}


@dataclass
class Study:
    path: Path  # where the report goes
    measurements: pd.DataFrame  # one a row, with column `way`: format, reader and order, in words
    notes: list[str] = field(default_factory=list)

    @property
    def ways(self) -> list[str]:
        order = {name: i for i, name in enumerate(FORMATS)}
        first = self.measurements.drop_duplicates("way")
        return list(first.sort_values("format", key=lambda names: names.map(order), kind="stable")["way"])

    @property
    def caches(self) -> list[str]:
        return [cache for cache in ("warm", "cold") if (self.measurements["cache"] == cache).any()]


def load_study(paths: list[str]) -> Study:
    notes: list[str] = []
    tables = [load_directory(Path(path), notes) for path in paths]
    measurements = pd.concat(tables, ignore_index=True)
    measurements["way"] = measurements["format"].map(FORMATS)
    for choice in ("reader", "order"):  # named where there were several
        several = measurements["format"].map(measurements.groupby("format")[choice].nunique()) > 1
        measurements["way"] += np.where(several, ", " + measurements[choice], "")
    return Study(Path(paths[0]), measurements, notes)


def load_directory(path: Path, notes: list[str]) -> pd.DataFrame:
    files = {int(match[1]): file for file in sorted(path.glob("io-*.csv"))
             if (match := re.fullmatch(r"io-(\d+)", file.stem))}
    if not files:
        raise RunError(f"{path} holds no io-*.csv. Give the directory that `brigade bench io --output` named?")
    ranks = pd.concat([load_rank(file, notes) for file in files.values()], ignore_index=True)
    if len(ranks) == 0:
        raise RunError(f"{path} holds no measurement yet. Is `brigade bench io` still running?")
    expected = int(ranks["ranks"].max())
    if len(files) != expected:
        raise RunError(f"{path} holds the logs of {len(files)} {plural('rank', files)} of {expected}. Copy them all?")
    whole = ranks.groupby([*POINT, "repetition"], sort=False)["rank"].transform("nunique") == expected
    if not whole.all():
        notes.append(f"{path}: the last measurement is not finished on all ranks and is left out.")
    groups = ranks[whole].groupby([*POINT, "repetition"], sort=False)
    table = groups[MEASURED].mean()
    table[SUMMED] = groups[SUMMED].sum()
    table["seconds"] = groups["seconds"].max()
    table["reader_used"] = groups["reader_used"].first()
    if len(table) == 0:
        raise RunError(f"{path} holds no measurement yet. Is `brigade bench io` still running?")
    table["images_per_s"] = table["images"] / table["seconds"]
    table["stored_bytes_per_s"] = table["stored_bytes"] / table["seconds"]
    table = table.reset_index()
    table["images_read"] = table["batch_size"] * table["batches"]
    return table


def load_rank(path: Path, notes: list[str]) -> pd.DataFrame:
    """Damage, but for a last line that is cut off, is an error."""
    try:
        table = pd.read_csv(io.BytesIO(whole_lines(path, notes)), dtype={word: str for word in WORDS}, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise RunError(f"{path} is damaged ({error}). Was it edited?") from None
    if missing := [column for column in NEEDED if column not in table]:
        raise RunError(f"{path} has no {plural('column', missing)} {enumerate_words(missing)}. "
                       "Was it written by another version?")
    numbers = [column for column in NEEDED if column not in WORDS]
    for column in numbers:
        table[column] = pd.to_numeric(table[column], errors="coerce")
    damaged = ~np.isfinite(table[numbers].to_numpy(dtype=float)).all(axis=1) | ~table["format"].isin(FORMATS)
    if damaged.any():
        raise RunError(f"{path}, line {int(np.argmax(damaged)) + 2} is damaged. Remove the line?")
    return table[NEEDED]


def regressions(study: Study) -> pd.DataFrame:
    """images_per_s = intercept + slope x parameter for each way, cache and parameter that has at least two values."""
    from scipy.stats import linregress

    rows = []
    for (way, cache), (parameter, title) in itertools.product(itertools.product(study.ways, study.caches),
                                                              PARAMETERS.items()):
        own = select(study, way, cache)
        if own[parameter].nunique() < 2 or len(own) < 3:
            continue
        fit = linregress(own[parameter].to_numpy(float), own["images_per_s"].to_numpy(float))
        rows.append({"way": way, "cache": cache, "parameter": title, "values": own[parameter].nunique(),
                     "measurements": len(own), "slope_images_per_s": fit.slope, "slope_error": fit.stderr,
                     "intercept_images_per_s": fit.intercept, "r": fit.rvalue, "p": fit.pvalue})
    return pd.DataFrame(rows, columns=["way", "cache", "parameter", "values", "measurements", "slope_images_per_s",
                                       "slope_error", "intercept_images_per_s", "r", "p"])


def correlations(fits: pd.DataFrame) -> pd.DataFrame:
    """R of throughput with each parameter: a row a parameter, a column a way and cache."""
    if len(fits) == 0:
        return pd.DataFrame(columns=["parameter"])
    columns = list(dict.fromkeys(zip(fits["way"], fits["cache"])))
    table = {"parameter": [title for title in PARAMETERS.values() if (fits["parameter"] == title).any()]}
    for way, cache in columns:
        own = fits[(fits["way"] == way) & (fits["cache"] == cache)].set_index("parameter")["r"]
        table[f"{way}, {cache}"] = [own.get(title, np.nan) for title in table["parameter"]]
    return pd.DataFrame(table)


def speeds(study: Study) -> pd.DataFrame:
    """One row a way and cache: over all its measurements."""
    rows = []
    for way, cache in itertools.product(study.ways, study.caches):
        own = select(study, way, cache)
        if len(own) == 0:
            continue
        work = own[STAGES].sum()
        rows.append({"way": way, "cache": cache, "measurements": len(own),
                     **{f"images_per_s_{name}": own["images_per_s"].quantile(q)
                        for name, q in (("p10", 0.1), ("median", 0.5), ("p90", 0.9))},
                     "stored_bytes_per_s": own["stored_bytes_per_s"].median(),
                     "batch_p50_s": own["batch_p50_s"].median(), "batch_p99_s": own["batch_p99_s"].median(),
                     **{f"{stage[:-2]}_share": work[stage] / work.sum() if work.sum() > 0 else np.nan
                        for stage in STAGES},
                     "resident_before": own["resident_before"].median(),
                     "utilisation": own["utilisation"].median() if own["emulated_step_s"].max() > 0 else np.nan})
    return pd.DataFrame(rows)


def ratios(study: Study) -> pd.DataFrame:
    """How many times as fast each way is as the first one (image files, if these were measured): geometric mean over
    the points that both measured."""
    same = [column for column in POINT if column not in ("format", "reader", "order")]
    rows = []
    for cache in study.caches:
        medians = study.measurements[study.measurements["cache"] == cache].pivot_table(
            index=same, columns="way", values="images_per_s", aggfunc="median")
        if medians.shape[1] < 2:
            continue
        first, *others = [way for way in study.ways if way in medians]
        for way in others:
            both = (medians[way] / medians[first]).dropna()
            if len(both):
                rows.append({"way": way, "against": first, "cache": cache, "points": len(both),
                             "ratio": float(np.exp(np.log(both).mean())), "least": both.min(), "most": both.max()})
    return pd.DataFrame(rows, columns=["way", "against", "cache", "points", "ratio", "least", "most"])


def select(study: Study, way: str, cache: str) -> pd.DataFrame:
    return study.measurements[(study.measurements["way"] == way) & (study.measurements["cache"] == cache)]
