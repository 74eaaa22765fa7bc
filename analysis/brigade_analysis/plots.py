"""Pictures of a run, as SVG.

Text stays text (small, searchable, readable by a screen reader). Colours are Okabe and Ito's, which people with any
kind of colour vision can tell apart; lines are also labelled where they end. A thin band around a line is the spread
that the caption names. pyplot is not used: it costs start-up time and keeps global state.
"""
import io
import re
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .aggregate import PHASES, Analysis
from .servers import staleness_counts
from .words import count, meeting, percent

BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#009E73"
RED, PURPLE, GREY = "#D55E00", "#CC79A7", "#8A8A8A"
INK, AXIS, GRID = "#333333", "#666666", "#e4e4e4"  # of text, of axes and dashed lines, of the grid
PHASE_COLOURS = {"wait_data": ORANGE, "forward": SKY, "backward": BLUE, "reduce_wait": RED, "straggler": RED,
                 "exchange": PURPLE, "optimizer": GREEN, "other": GREY}
PHASE_NAMES = {"wait_data": "waiting for data", "forward": "forward", "backward": "backward",
               "reduce_wait": "sum of gradients", "straggler": "waiting for the last rank", "exchange": "exchange",
               "optimizer": "optimizer", "other": "rest"}
WIDTH, HEIGHT = 5.8, 3.3  # inches; small, so that a phone need not shrink the text much
WINDOWS = 120  # points of a smoothed curve
MOST_RANKS, MOST_NUMBERED_CLASSES, MOST_NAMED_CLASSES = 24, 12, 40
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "brigade", "font.family": "DejaVu Sans", "font.size": 9,
    "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": AXIS,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.grid": True,
    "text.parse_math": False, "grid.color": GRID, "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False, "lines.linewidth": 1.6,
}


@dataclass
class Picture:
    name: str  # of its file, without .svg
    title: str
    caption: str
    svg: str


def draw_all(a: Analysis) -> list[Picture]:
    with matplotlib.rc_context(STYLE):
        pictures = [draw_loss(a), draw_accuracy(a), draw_throughput(a), draw_phases(a), draw_ranks(a), draw_lateness(a),
                    draw_staleness(a), draw_confusion(a)]
    return [picture for picture in pictures if picture]


def draw_loss(a: Analysis) -> Picture:
    figure, axes = canvas()
    per_epoch = a.run.number("steps_per_epoch")
    log = next(iter(a.run.ranks.values()))  # the loss is the mean of the global batch: the same on every rank
    x = log["step"].to_numpy() / (per_epoch or 1)
    edges = windows(len(x))
    middle, low, high = over_windows(log["loss"].to_numpy(), edges)
    axes.fill_between(window_centres(x, edges), low, high, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(window_centres(x, edges), middle, color=BLUE, label="training, by step")
    tops = [np.nanmax(high[len(high) // 50:])]
    epochs = a.run.epochs
    if np.isfinite(epochs["val_loss"].astype(float)).any():
        axes.plot(epochs["step"] / (per_epoch or 1), epochs["val_loss"], "o-", color=RED, markersize=4,
                  label="validation")
        tops.append(epochs["val_loss"].max())
    axes.set_ylim(0, 1.05 * max(tops) if np.isfinite(max(tops)) else None)
    axes.set_xlim(left=0)
    axes.set(ylabel="cross-entropy loss (nats)",
             xlabel=f"epoch ({count(per_epoch)} steps each)" if per_epoch else "step")
    axes.legend(loc="upper right")
    return picture(figure, "loss", "Loss", f"Median of {steps_a_window(edges)}; the band holds 80 % of them.")


def draw_accuracy(a: Analysis) -> Picture | None:
    epochs = a.run.epochs
    if len(epochs) == 0:
        return None
    figure, axes = canvas()
    lines = [("train_accuracy", "training", BLUE), ("val_accuracy", "validation", RED)]
    if (epochs["val_top5_accuracy"] < 0.99).any():  # of ten classes it says nothing
        lines.append(("val_top5_accuracy", "validation, top 5", PURPLE))
    ends = []
    for column, name, colour in lines:
        known = epochs[np.isfinite(epochs[column].astype(float))]
        if len(known) > 0:
            values = 100 * known[column]
            axes.plot(known["epoch"], values, "o-", color=colour, markersize=4)
            ends.append((values.iloc[-1], f"{name} {values.iloc[-1]:.2f} %", colour))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.03, y=0.12)
    label_ends(axes, ends)
    axes.set(xlabel="epoch", ylabel="accuracy (%)")
    return picture(figure, "accuracy", "Accuracy",
                   "Training: mean over the epoch, while the network was still learning. Validation: at its end.")


def draw_throughput(a: Analysis) -> Picture:
    figure, axes = canvas()
    widest = np.nanquantile(a.images_per_second, 0.99)
    groups = a.session * (a.epoch.max() + 1) + a.epoch
    own_windows = max(WINDOWS // len(np.unique(groups)), 4)
    for group in np.unique(groups):  # a line for each epoch: nothing is trained while validation runs
        own = groups == group
        edges = windows(own.sum(), own_windows)
        middle, low, high = over_windows(a.images_per_second[own], edges)
        x = window_centres(a.elapsed_s[own], edges)
        style = {"marker": "o", "markersize": 4} if len(x) == 1 else {}
        axes.fill_between(x, low, high, color=GREEN, alpha=0.2, linewidth=0)
        axes.plot(x, middle, color=GREEN, **style)
    median = a.median_images_per_second
    axes.axhline(median, color=AXIS, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(0, 1.15 * max(widest, median))
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    label_ends(axes, [(median, f"median\n{count(median)}", INK)])
    axes.set(xlabel="time since the first step (s)", ylabel=f"images/s, {ranks_word(a)}")
    edges = windows(len(a.steps))
    return picture(figure, "throughput", "Throughput",
                   f"Median of {steps_a_window(edges)}; the band holds 80 % of them. Gaps are validation.")


def draw_phases(a: Analysis) -> Picture:
    figure, axes = canvas()
    edges, ends, tops = windows(len(a.steps)), [], []
    x = window_centres(a.steps.astype(float), edges)
    for phase in ("backward", "forward", "reduce_wait", "wait_data", "optimizer"):
        low, middle, high = (over_windows(1e3 * row, edges)[0] for row in a.over_ranks(phase))
        if len(a.ranks) > 1:
            axes.fill_between(x, low, high, color=PHASE_COLOURS[phase], alpha=0.2, linewidth=0)
        axes.plot(x, middle, color=PHASE_COLOURS[phase], **({"marker": "o"} if len(x) == 1 else {}))
        ends.append((np.median(middle[-max(len(middle) // 10, 1):]), PHASE_NAMES[phase], PHASE_COLOURS[phase]))
        tops.append(np.quantile(high, 0.98))
    axes.set_ylim(0, 1.1 * max(*tops, 1e-3))
    axes.margins(x=0.02)
    label_ends(axes, ends)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.set(xlabel="step", ylabel="time in a step (ms)")
    band = "; the band reaches from the quickest to the slowest rank" if len(a.ranks) > 1 else ""
    return picture(figure, "phases", "Phases of a step", f"Median rank, median of {steps_a_window(edges)}{band}.")


def draw_ranks(a: Analysis) -> Picture:
    columns, note = shown_ranks(a)
    figure, axes = canvas(height=1.45 + 0.32 * max(len(columns), 2))
    left = np.zeros(len(columns))
    total = 1e3 * a.mean_s("step")[columns]
    for phase in PHASES:
        values = 1e3 * a.mean_s(phase)[columns]
        share = a.share(phase)
        if share < 0.0005:
            continue
        axes.barh(range(len(columns)), values, left=left, height=0.66, color=PHASE_COLOURS[phase], edgecolor="white",
                  linewidth=0.6, label=f"{PHASE_NAMES[phase]} {percent(share)}")
        for row, value in enumerate(values):
            if value > 0.07 * total.max():
                axes.text(left[row] + value / 2, row, f"{value:.1f}", ha="center", va="center", fontsize=8,
                          color="black" if phase in ("wait_data", "forward", "exchange") else "white")
        left += values
    for row, value in enumerate(total):
        axes.annotate(f"{value:.1f} ms", (left[row], row), xytext=(4, 0), textcoords="offset points", va="center")
    rank_axis(axes, a, columns)
    axes.set_xlim(0, 1.13 * left.max())
    axes.set_xlabel("mean time of a step (ms)")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncol=3, fontsize=8, handlelength=1, columnspacing=1.2)
    return picture(figure, "ranks", "Where the time of a step went",
                   f"Means over steady steps; percentages are of all ranks together.{note}")


def draw_lateness(a: Analysis) -> Picture | None:
    if len(a.ranks) < 2 or not a.met.any():
        return None
    columns, note = shown_ranks(a)
    figure, axes = canvas(height=0.95 + 0.32 * max(len(columns), 2))
    late = 1e3 * a.lateness_s[a.met][:, columns]
    low, middle, high = np.quantile(late, [0.1, 0.5, 0.9], axis=0)
    last = np.bincount(a.lateness_s[a.met].argmax(axis=1), minlength=len(a.ranks)) / a.met.sum()
    rows = np.arange(len(columns))
    axes.hlines(rows, low, high, color=SKY, linewidth=7)
    axes.plot(middle, rows, "o", color=BLUE, markersize=6)
    for row, column in enumerate(columns):
        axes.annotate(f"last in {percent(last[column])}", (1, row), xycoords=("axes fraction", "data"), ha="right",
                      va="center", fontsize=8)
    rank_axis(axes, a, columns)
    axes.set_xlim(-0.02 * high.max(), 1.3 * max(high.max(), 1e-3))
    axes.set_xlabel("arrival after the first rank (ms)")
    return picture(figure, "lateness", f"Who is late at the {meeting(a)}",
                   "Dot: median; bar: 80 % of these. All ranks leave the sum together, so the last one sets the "
                   f"pace.{note}")


def draw_staleness(a: Analysis) -> Picture | None:
    counts = staleness_counts(a.run)
    if not counts.sum():
        return None
    figure, axes = canvas()
    shares = 100 * counts / counts.sum()
    axes.bar(range(len(counts)), shares, color=BLUE, width=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False, axis="x")
    axes.set(xlabel="updates by others since the weights were pulled", ylabel="gradients (%)")
    return picture(figure, "staleness", "How stale gradients were", "Of all workers and steps.")


def draw_confusion(a: Analysis) -> Picture | None:
    evaluation = a.run.evaluation
    if evaluation is None or evaluation["confusion"] is None:
        return None
    confusion, names = evaluation["confusion"], [c["name"] for c in evaluation["classes"]]
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    wrong = 100 * np.where(np.eye(len(names), dtype=bool), np.nan, confusion / totals)
    figure, axes = canvas(height=5.0)
    top = np.nanmax(wrong) if len(names) > 1 else 1
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="#EFEFEF")
    image = axes.imshow(wrong, cmap=colours, norm=PowerNorm(0.5, 0, max(top, 1e-3)), interpolation="nearest")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) <= MOST_NUMBERED_CLASSES:
        for (row, column), value in np.ndenumerate(confusion):
            dark = row != column and wrong[row, column] > 0.35 * top
            axes.text(column, row, count(value) if value else "·", ha="center", va="center", fontsize=8,
                      color="white" if dark else "#222222", fontweight="bold" if row == column else "normal")
    if len(names) <= MOST_NAMED_CLASSES:
        size = 8.5 if len(names) <= MOST_NUMBERED_CLASSES else 6
        axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)
    axes.set(xlabel="predicted", ylabel="true class")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("share of the class (%)")
    bar.outline.set_visible(False)
    return picture(figure, "confusion", "Confusion matrix",
                   f"Images of the {evaluation['split']} split; errors are coloured, the grey diagonal is correct.")


# ---- helpers

def canvas(height: float = HEIGHT):
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def windows(n: int, most: int = WINDOWS) -> np.ndarray:
    """Where to cut n values into at most `most` runs of about equal length: indices, first 0 and last n."""
    return np.linspace(0, n, min(n, most) + 1).astype(int)


def over_windows(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[3, windows]: median, 10th and 90th percentile."""
    out = np.full((3, len(edges) - 1), np.nan)
    for i, (begin, end) in enumerate(zip(edges[:-1], edges[1:])):
        finite = values[begin:end][np.isfinite(values[begin:end])]
        if len(finite):
            out[:, i] = np.quantile(finite, [0.5, 0.1, 0.9])
    return out


def window_centres(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.array([x[begin:end].mean() for begin, end in zip(edges[:-1], edges[1:])])


def steps_a_window(edges: np.ndarray) -> str:
    width = int(round((edges[-1] - edges[0]) / (len(edges) - 1)))
    return f"{width} steps" if width > 1 else "each step"


def ranks_word(a: Analysis) -> str:
    return f"{len(a.ranks)} ranks together" if len(a.ranks) > 1 else "1 rank"


def shown_ranks(a: Analysis) -> tuple[list[int], str]:
    """Columns to draw, and a sentence if that is not all: then the latest ones."""
    if len(a.ranks) <= MOST_RANKS:
        return list(range(len(a.ranks))), ""
    order = np.argsort(-a.lateness_s[a.steady].mean(axis=0), kind="stable")[:MOST_RANKS]
    return sorted(int(column) for column in order), f" The {MOST_RANKS} latest of {len(a.ranks)} ranks."


def rank_axis(axes, a: Analysis, columns: list[int]) -> None:
    axes.set_yticks(range(len(columns)), [f"rank {a.ranks[column]}" for column in columns])
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def label_ends(axes, ends: list[tuple[float, str, str]]) -> None:
    """Names beside the right ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap, y = 0.062 * (high - low), []
    for value, _, _ in sorted(ends, key=lambda end: end[0]):
        y.append(max(value, y[-1] + gap) if y else max(value, low + 0.02 * (high - low)))
    overflow = max(y[-1] - high, 0) if y else 0
    for place, (_, text, colour) in zip(y, sorted(ends, key=lambda end: end[0])):
        axes.annotate(text, (1, place - overflow), xycoords=("axes fraction", "data"), xytext=(5, 0),
                      textcoords="offset points", va="center", color=colour, fontsize=8.5, annotation_clip=False)


def picture(figure: Figure, name: str, title: str, caption: str) -> Picture:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Picture(name, title, caption, tidy(out.getvalue(), name))


def tidy(svg: str, name: str) -> str:
    """Ready to stand in a page beside others: ids are made unique, headers and metadata go."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    return svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
