"""The table of Brigade beside PyTorch, from what tests/peers/compare_step.py wrote."""
import json

from .load import RunError

# Images/s over PyTorch's that a training step shall reach at least, in float32 (in bf16: 1.15 for each network).
WANTED = {"resnet50": 1.1, "densenet121": 1.3, "inception-v3": 1.15, "mobilenet": 1.4, "mobilenet-v2": 1.5,
          "tiny-model1": 1.25, "tiny-model2": 1.25, "fashion-cnn": 1.2}
WANTED_BF16 = 1.15
WANTED_LATENCY = 0.7  # of PyTorch's, at most, one image at a time
WANTED_MEMORY = 0.6  # of PyTorch's peak in training, at most

COLUMNS = ("network", "mode", "precision", "batch", "threads", "brigade images/s", "pytorch images/s", "speed", "at least",
           "brigade MB", "pytorch MB", "memory", "at most", "reached")


def load_rows(path: str) -> list[dict]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if content.get("benchmark") != "compare_step":
            raise RunError(f"{path} is no comparison of steps (benchmark is {content.get('benchmark')!r}). "
                           "Make one with tests/peers/compare_step.py?")
        return content["rows"]
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise RunError(f"cannot read {path} ({error}). Make it with tests/peers/compare_step.py?") from error


def wanted_ratio(row: dict) -> float | None:
    """Images/s of Brigade over PyTorch's, at least."""
    if row["mode"] == "inference":
        return 1 / WANTED_LATENCY if row["batch_size"] == 1 else None
    return WANTED_BF16 if row["precision"] == "bf16" else WANTED.get(row["network"])


def table_row(row: dict) -> list[str]:
    ours, theirs = row["brigade"], row["pytorch"]
    speed, wanted = ours["images_per_second"] / theirs["images_per_second"], wanted_ratio(row)
    wanted_memory = WANTED_MEMORY if row["mode"] == "training" else None
    memory = ours["peak_rss_bytes"] / theirs["peak_rss_bytes"] if theirs["peak_rss_bytes"] else None
    missed = []
    reached = "-" if wanted is None and wanted_memory is None else "yes"
    if wanted is not None and speed < wanted:
        missed.append("speed")
    if wanted_memory is not None and memory is not None and memory > wanted_memory:
        missed.append("memory")

    def number(value, form):
        return "-" if value is None else format(value, form)

    def megabytes(value):
        return "-" if not value else f"{value / 1e6:.0f}"

    return [row["network"], row["mode"], row["precision"], str(row["batch_size"]), str(row["threads"]),
            f"{ours['images_per_second']:.1f}", f"{theirs['images_per_second']:.1f}", f"{speed:.2f}", number(wanted, ".2f"),
            megabytes(ours["peak_rss_bytes"]), megabytes(theirs["peak_rss_bytes"]), number(memory, ".2f"),
            number(wanted_memory, ".2f"), "not " + " and ".join(missed) if missed else reached]


def ratio_table(rows: list[dict]) -> str:
    """Markdown, aligned; one line a comparison."""
    lines = [list(COLUMNS), *[table_row(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    left = 3  # the names

    def line_of(cells):
        return "| " + " | ".join(cell.ljust(width) if column < left else cell.rjust(width)
                                 for column, (cell, width) in enumerate(zip(cells, widths))) + " |"

    rule = "|" + "|".join("-" * (width + 2) if column < left else "-" * (width + 1) + ":"
                          for column, width in enumerate(widths)) + "|"
    return "\n".join([line_of(lines[0]), rule, *[line_of(line) for line in lines[1:]]])
