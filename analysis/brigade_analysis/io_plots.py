"""Pictures of a study of reading: throughput of each way, against each parameter, and where its time went."""
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from .io_study import PARAMETERS, STAGES, Study, select, speeds
from .plots import BLUE, GREEN, GREY, HEIGHT, INK, ORANGE, PURPLE, RED, SKY, STYLE, WIDTH, Picture, picture
from .words import count

COLOURS = [RED, ORANGE, BLUE, GREEN, PURPLE, SKY, GREY]
MARKERS = "os^Dv<>"
STAGE_NAMES = {"open_s": ("opening", GREY), "read_s": ("reading", BLUE), "decode_s": ("decoding", ORANGE),
               "augment_s": ("augmenting, normalising", GREEN)}
CACHE_NAMES = {"warm": "page cache warm", "cold": "page cache dropped"}


def draw_study(study: Study, fits: pd.DataFrame) -> list[Picture]:
    with matplotlib.rc_context(STYLE):
        return [draw_speeds(study), draw_stages(study),
                *[draw_parameter(study, fits, parameter) for parameter, title in PARAMETERS.items()
                  if (fits["parameter"] == title).any()]]


def panels(study: Study, height: float):
    """A figure with a plot for each state of the cache, side by side."""
    figure = Figure(figsize=(WIDTH * (1 if len(study.caches) == 1 else 1.45), height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots(1, len(study.caches), sharey=True, squeeze=False)[0]


def look_of(study: Study, way: str) -> dict:
    i = study.ways.index(way)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def draw_speeds(study: Study) -> Picture:
    table = speeds(study)
    figure, all_axes = panels(study, 0.9 + 0.42 * len(study.ways))
    fastest = table["images_per_s_p90"].max()
    for axes, cache in zip(all_axes, study.caches):
        own = table[table["cache"] == cache].set_index("way").reindex(study.ways)
        y, middle = np.arange(len(own)), own["images_per_s_median"]
        spread = [middle - own["images_per_s_p10"], own["images_per_s_p90"] - middle]
        axes.barh(y, middle, color=[look_of(study, way)["color"] for way in study.ways], height=0.6)
        axes.errorbar(middle, y, xerr=spread, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        axes.set_xscale("log")
        axes.set_xlim(table["images_per_s_p10"].min() / 2, 6 * fastest)
        for place, high, value in zip(y, own["images_per_s_p90"], middle):
            axes.annotate(count(value), (high, place), xytext=(6, 0), textcoords="offset points", va="center",
                          fontsize=8.5)
        axes.set_yticks(y, study.ways)
        thousands(axes.xaxis)
        axes.grid(axis="y", visible=False)
        axes.set(title=CACHE_NAMES[cache], xlabel="images/s, all ranks (logarithmic)")
    all_axes[0].invert_yaxis()  # of all panels
    return picture(figure, "io-speeds", "Throughput", "Median of all measurements; whiskers hold 80 % of them.")


def draw_stages(study: Study) -> Picture:
    table = speeds(study)
    figure, all_axes = panels(study, 1.2 + 0.36 * len(study.ways))
    for axes, cache in zip(all_axes, study.caches):
        own = table[table["cache"] == cache].set_index("way").reindex(study.ways)
        left = np.zeros(len(own))
        for stage in STAGES:
            name, colour = STAGE_NAMES[stage]
            share = 100 * own[f"{stage[:-2]}_share"].fillna(0).to_numpy()
            axes.barh(np.arange(len(own)), share, left=left, color=colour, height=0.6, label=name)
            left += share
        axes.set_yticks(np.arange(len(own)), study.ways)
        axes.set_xlim(0, 100)
        axes.grid(axis="y", visible=False)
        axes.set(title=CACHE_NAMES[cache], xlabel="share of the data threads' work (%)")
    all_axes[0].invert_yaxis()  # of all panels
    all_axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture(figure, "io-stages", "Where the time goes", "Summed over all measurements and data threads.")


def draw_parameter(study: Study, fits: pd.DataFrame, parameter: str) -> Picture:
    title = PARAMETERS[parameter]
    figure, all_axes = panels(study, HEIGHT + 0.3)
    for axes, cache in zip(all_axes, study.caches):
        for way in study.ways:
            draw_line(axes, select(study, way, cache), parameter, look_of(study, way), way)
            fit = fits[(fits["way"] == way) & (fits["cache"] == cache) & (fits["parameter"] == title)]
            if len(fit) == 1:
                draw_fit(axes, fit.iloc[0], select(study, way, cache)[parameter], look_of(study, way)["color"])
        axes.set_yscale("log")
        thousands(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=CACHE_NAMES[cache], xlabel=title + unit(parameter))
    all_axes[0].set_ylabel("images/s, all ranks (logarithmic)")
    all_axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return picture(figure, f"io-by-{title.replace(' ', '-')}", f"Throughput by {title}",
                   "Points: median of the measurements with this value, whiskers hold 80 % of them; lines: linear "
                   "regression over all measurements, dashed where p > 0.05.")


def draw_line(axes, own: pd.DataFrame, parameter: str, look: dict, way: str) -> None:
    if len(own) == 0:
        return
    groups = own.groupby(parameter)["images_per_s"]
    middle, low, high = groups.median(), groups.quantile(0.1), groups.quantile(0.9)
    axes.errorbar(middle.index, middle, yerr=[middle - low, high - middle], linestyle="none", markersize=4.5,
                  elinewidth=1, capsize=2.5, label=way, **look)


def draw_fit(axes, fit: pd.Series, values: pd.Series, colour: str) -> None:
    x = np.linspace(values.min(), values.max(), 60)
    y = fit["intercept_images_per_s"] + fit["slope_images_per_s"] * x
    axes.plot(x[y > 0], y[y > 0], color=colour, linewidth=1.1,
              linestyle="-" if fit["p"] <= 0.05 else (0, (4, 3)))


def unit(parameter: str) -> str:
    return {"batch_size": " (images of a rank)", "dataset_images": " (images)",
            "images_read": " (batch size × batches)"}.get(parameter, "")


def thousands(axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axis.set_minor_formatter(NullFormatter())
