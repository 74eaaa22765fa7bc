"""The page, pictures and tables of a scaling study."""
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ticker import FuncFormatter

from . import scaling_words, words
from .outlook import outlook
from .html import PAGE, STYLE, card, grid, table
from .plots import AXIS, BLUE, GREEN, GREY, ORANGE, PHASE_COLOURS, PHASE_NAMES, PURPLE, RED, SKY, canvas, picture
from .plots import STYLE as PLOT_STYLE
from .scaling import PARTS, Measurement, Series, find_series, group, names_of, scaling_table
from .stragglers import straggler_table
from .tables import write_text
from .words import bytes_, count, digits, percent, seconds

COLOURS, MARKERS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, GREY), "os^vD"


def write_study(runs: list[Measurement], directory: Path, link_gbps: float | None) -> list[str]:
    """Writes index.html, scaling.csv, stragglers.csv and the pictures; returns what to say on the terminal."""
    series = find_series(runs)
    largest = max(runs, key=lambda run: run.ranks)
    late = straggler_table(largest)
    with matplotlib.rc_context(PLOT_STYLE):
        pictures = [draw(own) for own in group(series, lambda s: s.kind).values() for draw in (draw_throughput, draw_efficiency)]
        pictures += [draw_split(s, i) for i, s in enumerate(series)]
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "scaling.csv", scaling_table(series).to_csv(index=False))
    write_text(directory / "stragglers.csv", late.to_csv(index=False))
    for one in pictures:
        write_text(directory / f"{one.name}.svg", one.svg)
    sentences = [sentence for s in series for sentence in scaling_words.limits(s, link_gbps)]
    about_late = words.who_is_late(largest.analysis) if largest.analysis.run.asynchronous else scaling_words.late_ranks(late)
    lateness = f"{largest.name}: {about_late}" if largest.ranks > 1 else ""
    outlooks = outlook(series, link_gbps)
    body = ["<h1>Scaling study</h1>", f'<p class="soft">{len(runs)} runs</p>', "<h2>What limits scaling</h2>",
            *(f"<p>{escape(sentence)}</p>" for sentence in [*sentences, lateness] if sentence),
            "<h2>Curves</h2>", grid(map(card, pictures)), "<h2>Numbers</h2>", *map(series_table, series),
            "<h2>What more such nodes would do</h2>", *(f"<p>{escape(one.text)}</p>" + one.page_table() for one in outlooks)]
    if largest.ranks > 1:
        body += [f"<h2>Ranks of {escape(largest.name)}</h2>", late_table(late)]
    body.append('<p class="soft">Means over repetitions, ± standard error; of each run means over ranks and over the steps '
                "between the 10 % quickest and slowest, without the warm-up.</p>")
    write_text(directory / "index.html", PAGE.substitute(title="Brigade: scaling study", style=STYLE, body="\n".join(body)))
    return [*(scaling_words.text_table(s) + "\n" for s in series), *sentences, lateness, *(one.for_terminal() for one in outlooks)]


def series_table(s: Series) -> str:
    served, rows = ["with servers"] if s.served else [], []
    for p in s.points:
        rows.append([str(p.count), str(len(p.runs)), plus_minus(digits(p.images_per_second), digits(p.error), p.error),
                     digits(p.images_per_second / s.points[0].images_per_second),
                     plus_minus(percent(p.efficiency), percent(p.efficiency_error), p.efficiency_error),
                     *(scaling_words.with_servers(p) for _ in served), seconds(p.step_s),
                     *(percent(p.part_s(part) / p.step_s) for part in PARTS), bytes_(p.mean(lambda run: run.wire_bytes)),
                     digits(p.cost)])
    titles = [s.unit + "s", "runs", "images/s", "speed-up", "efficiency", *served, "step", *(PHASE_NAMES[part] for part in PARTS),
              "on the busiest link", f"{s.unit}-seconds an epoch"]
    return f"<h3>{escape(s.title)}</h3><p class=\"soft\">{escape(s.label)}</p>" + table(titles, rows, left_columns=0)


def plus_minus(value: str, error: str, number: float) -> str:
    return f"{value} ± {error}" if np.isfinite(number) and number > 0 else value


def late_table(late) -> str:
    rows = [[str(row.rank), row.host, row.cause or "–", seconds(row.worst_s), seconds(row.slow_compute_s),
             seconds(row.slow_data_s), seconds(row.slow_network_s), seconds(row.late_begin_s)] for row in late.head(32).itertuples()]
    return table(["rank", "host", "cause", "at most", "slow compute", "slow data", "slow network", "late begin"], rows,
                 left_columns=3)


def looks(count: int) -> list[tuple[str, str]]:
    """Colour and marker of each of so many lines: no two are alike."""
    return [(COLOURS[i % len(COLOURS)], MARKERS[i // len(COLOURS) % len(MARKERS)]) for i in range(count)]


def draw_throughput(series: list[Series]):
    """Of one kind."""
    figure, axes = canvas()
    for s, name, (colour, marker) in zip(series, names_of(series), looks(len(series))):
        x = [p.count for p in s.points]
        perfect = [s.points[0].images_per_second * n / x[0] for n in x]
        axes.plot(x, perfect, color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.errorbar(x, [p.images_per_second for p in s.points], [np.nan_to_num(p.error) for p in s.points], color=colour,
                      marker=marker, markersize=4, capsize=3, label=name)
    counts(axes, series)
    axes.set_yscale("log")
    for axis_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_format(FuncFormatter(lambda value, _: count(value) if f"{value:e}"[0] in "125" else ""))
    axes.set(ylabel="images/s")
    key_above(axes)
    return picture(figure, f"scaling-throughput-{series[0].kind}", f"Throughput, {series[0].kind} scaling",
                   "Bars: standard error over repetitions. Dashed: perfect scaling.")


def draw_efficiency(series: list[Series]):
    """Of one kind."""
    figure, axes = canvas()
    axes.axhline(100, color=AXIS, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for s, name, (colour, marker) in zip(series, names_of(series), looks(len(series))):
        axes.errorbar([p.count for p in s.points], [100 * p.efficiency for p in s.points],
                      [100 * np.nan_to_num(p.efficiency_error) for p in s.points], color=colour, marker=marker, markersize=4,
                      capsize=3, label=name)
    counts(axes, series)
    axes.set_ylim(0, 110)
    axes.set(ylabel="efficiency (%)")
    key_above(axes)
    return picture(figure, f"scaling-efficiency-{series[0].kind}", f"Efficiency, {series[0].kind} scaling",
                   f"Images/s over those of the smallest count times the {series[0].unit}s. Bars: standard error over repetitions.")


def counts(axes, series: list[Series]) -> None:
    axes.set_xscale("log", base=2)
    ticks = sorted({p.count for s in series for p in s.points})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"{series[0].unit}s")


def key_above(axes, columns: int = 1) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncol=columns, fontsize=8, handlelength=1, columnspacing=1.2)


def draw_split(s: Series, number: int):
    figure, axes = canvas(height=1.6 + 0.36 * len(s.points))
    left = np.zeros(len(s.points))
    for part in PARTS:
        values = np.array([1e3 * p.part_s(part) for p in s.points])
        if values.sum() < 0.0005 * sum(1e3 * p.step_s for p in s.points):
            continue
        axes.barh(range(len(s.points)), values, left=left, height=0.66, color=PHASE_COLOURS[part], edgecolor="white",
                  linewidth=0.6, label=PHASE_NAMES[part])
        left += values
    for row, p in enumerate(s.points):
        axes.annotate(f"{1e3 * p.step_s:.1f} ms", (left[row], row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(s.points)), [f"{p.count} {s.unit}{'s' if p.count > 1 else ''}" for p in s.points])
    axes.set_ylim(len(s.points) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.15 * left.max())
    axes.set_xlabel("mean time of a step (ms)")
    key_above(axes, 3)
    return picture(figure, f"scaling-split-{number}", "Where the time of a step goes", f"{s.title} ({s.label}).")
