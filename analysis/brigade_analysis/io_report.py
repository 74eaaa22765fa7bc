"""Tables, JSON and text of a study of reading."""
import json

import numpy as np
import pandas as pd

from . import words
from .io_plots import draw_study
from .io_study import Study, correlations, ratios, regressions, speeds
from .tables import align, write_text


def write_report(study: Study) -> str:
    """Writes DIR/report: tables as CSV, all of them as io.json, plots as SVG. Returns text for the terminal."""
    fits = regressions(study)
    tables = {"speeds": speeds(study), "regressions": fits, "correlations": correlations(fits), "ratios": ratios(study)}
    directory = study.path / "report"
    directory.mkdir(exist_ok=True)
    for name, table in tables.items():
        write_text(directory / f"io-{name}.csv", table.to_csv(index=False, float_format="%.9g"))
    write_text(directory / "io.json", json.dumps({name: records(table) for name, table in tables.items()}
                                                 | {"notes": study.notes}, indent=1) + "\n")
    pictures = draw_study(study, fits)
    for picture in pictures:
        write_text(directory / f"{picture.name}.svg", picture.svg)
    return f"{text_of(tables, study.notes)}\n\nreport: {directory} ({words.times(len(pictures), 'plot')})"


def records(table: pd.DataFrame) -> list[dict]:
    """JSON knows no NaN: null."""
    return [{key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}
            for row in json.loads(table.to_json(orient="records", double_precision=12))]


def text_of(tables: dict[str, pd.DataFrame], notes: list[str]) -> str:
    parts = ["Throughput over all measurements; work: shares of opening, reading, decoding, augmenting",
             align([["", "cache", "images/s", "10 % to 90 %", "MB/s", "batch p50", "p99", "work: o r d a"],
                    *[speed_line(row) for row in tables["speeds"].to_dict("records")]], left=2)]
    if len(tables["ratios"]):
        parts += ["", "Times as fast (geometric mean over the points that both measured)",
                  align([["", "cache", "against", "ratio", "least to most"],
                         *[[row["way"], row["cache"], row["against"], words.digits(row["ratio"]),
                            f"{words.digits(row['least'])} to {words.digits(row['most'])}"]
                           for row in tables["ratios"].to_dict("records")]], left=3)]
    if len(tables["correlations"]):
        parts += ["", "Correlation R of images/s with each parameter",
                  align([list(tables["correlations"].columns),
                         *[[row[0], *[words.MISSING if pd.isna(r) else f"{r:+.2f}" for r in row[1:]]]
                           for row in tables["correlations"].itertuples(index=False)]], left=1)]
        parts += ["", "Linear regression: images/s = intercept + slope × parameter",
                  align([["", "cache", "parameter", "slope", "± error", "intercept", "R", "p", "n"],
                         *[[row["way"], row["cache"], row["parameter"], f"{row['slope_images_per_s']:.4g}",
                            f"{row['slope_error']:.2g}", f"{row['intercept_images_per_s']:.4g}", f"{row['r']:+.2f}",
                            "<0.001" if row["p"] < 1e-3 else f"{row['p']:.3f}", str(row["measurements"])]
                           for row in tables["regressions"].to_dict("records")]], left=3)]
    return "\n".join([*parts, *(f"note: {note}" for note in notes)])


def speed_line(row: dict) -> list[str]:
    shares = " ".join(f"{100 * row[f'{stage}_share']:3.0f}" for stage in ("open", "read", "decode", "augment"))
    return [row["way"], row["cache"], words.count(row["images_per_s_median"]),
            f"{words.count(row['images_per_s_p10'])} to {words.count(row['images_per_s_p90'])}",
            words.digits(row["stored_bytes_per_s"] / 1e6), words.seconds(row["batch_p50_s"]),
            words.seconds(row["batch_p99_s"]), shares]
