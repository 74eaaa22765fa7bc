"""One page about a run, with everything in it: no network, no scripts, no other files."""
import string
from html import escape

import numpy as np

from . import servers, words
from .aggregate import Analysis, final_accuracy, most_confused, rank_table, summary_row
from .plots import AXIS, GRID, INK, PHASE_COLOURS, PHASE_NAMES, PHASES, Picture

LONG_TABLE = 32  # rows; a longer one is folded

STYLE = """
:root { color-scheme: light dark; --text: #1d1d1f; --soft: #5c5c62; --line: #dcdce0; --card: #ffffff; --page: #f5f5f7;
  --warn: #fff4d6; --ink: #333333; --axis: #666666; --grid: #e4e4e4; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececee; --soft: #a5a5ad; --line: #3a3a3e; --card: #1f1f22; --page: #141416; --warn: #463a14;
    --ink: #d4d4d8; --axis: #8e8e96; --grid: #333338; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 1.2rem 1rem 3rem; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; }
p { margin: .4rem 0; max-width: 75ch; }
.soft, figcaption, th { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.tile, figure, .sheet { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.65rem; line-height: 1.25; font-weight: 650; white-space: nowrap; }
.tile span { color: var(--soft); font-size: .88rem; }
.bar { display: flex; height: 1.1rem; border-radius: 6px; overflow: hidden; margin: .8rem 0 .5rem; gap: 1px; }
.key { display: flex; flex-wrap: wrap; gap: .15rem 1rem; color: var(--soft); font-size: .88rem; margin-bottom: .6rem; }
.key i { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .35rem; }
.note { background: var(--warn); border-radius: 8px; padding: .5rem .8rem; margin: .5rem 0; max-width: none; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: .9rem; }
figure { margin: 0; padding: .8rem .9rem; min-width: 0; }
h3 { margin: 0 0 .3rem; font-size: 1rem; }
.beside { min-width: 0; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { font-size: .85rem; margin-top: .3rem; }
.sheet { overflow-x: auto; padding: .3rem .6rem; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 500; }
tr:last-child td { border-bottom: 0; }
.left { text-align: left; }
td.wrap { white-space: normal; overflow-wrap: anywhere; }
details { margin: .6rem 0; } summary { cursor: pointer; }
"""

PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page(a: Analysis, pictures: list[Picture]) -> str:
    curves = [p for p in pictures if p.name != "confusion"]
    body = [head(a), "<h2>Curves</h2>", grid(map(card, curves)), *errors(a, pictures), *epochs(a), *ranks(a), *parameter_servers(a),
            *details(a)]
    return PAGE.substitute(title=escape(f"Brigade: {a.run.name}"), style=STYLE, body="\n".join(body))


def head(a: Analysis) -> str:
    row, info = summary_row(a), a.run.info
    subtitle = [row["network"], dataset_name(info), words.times(row["epochs"], "epoch"), info.get("started", "")]
    notes = [*a.notes, *([shared] if (shared := words.busy_cores(a)) else [])]
    if row["exit_reason"] not in ("done", "not finished"):
        notes.insert(0, f"The run ended before its last epoch: {row['exit_reason']}.")
    return "\n".join([
        f"<h1>{escape(a.run.name)}</h1>",
        f'<p class="soft">{escape(" · ".join(str(part) for part in subtitle if part))}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        tiles(a, row),
        '<h2>Where the time went</h2>',
        time_bar(a),
        f"<p>{escape(words.where_time_went(a))}</p>",
        f"<p>{escape(words.who_is_late(a))}</p>",
        f'<p class="soft">{escape(words.warm_up(a))}</p>',
    ])


def dataset_name(info: dict) -> str:
    return str(info.get("dataset", "")).rstrip("/").rpartition("/")[2]


def tiles(a: Analysis, row: dict) -> str:
    final = final_accuracy(a.run)
    total = row["total_s"] if np.isfinite(row["total_s"]) else row["train_s"]
    parts = [f"{words.seconds(row[key])} {what}" for key, what in
             (("startup_s", "start-up"), ("train_s", "training"), ("val_s", "validation")) if np.isfinite(row[key])]
    hosts = len(set(a.run.info.get("hosts") or [])) or 1
    of = f"of {words.count(final['images'])} {final['of']} images" if final else "not known: no epoch is finished"
    rate, mean_rate = row["images_per_second"], row["mean_images_per_second"]
    over_all = f"; {words.count(mean_rate)} over all of training" if mean_rate > 0 else ""
    threads = words.times(row["threads_per_rank"], "thread")
    content = [
        (words.percent(row["accuracy"], 2), f"accuracy {of}"),
        (words.count(rate), f"images/s, median step, all ranks{over_all}"),
        (words.seconds(total), ", ".join(parts)),
        (words.times(row["ranks"], "rank"), f"of {threads} on {words.times(hosts, 'host')}"),
        (words.seconds(row["median_step_s"]), f"a step of {words.count(row['global_batch'])} images"),
    ]
    cards = (f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in content)
    return f'<div class="tiles">{"".join(cards)}</div>'


def time_bar(a: Analysis) -> str:
    shown = [(PHASE_NAMES[p], PHASE_COLOURS[p], a.share(p)) for p in PHASES if a.share(p) >= 0.0005]
    bar = "".join(f'<div style="flex:{share:.4f};background:{colour}" title="{name} {words.percent(share)}"></div>'
                  for name, colour, share in shown)
    key = "".join(f'<span><i style="background:{colour}"></i>{name} {words.percent(share)}</span>'
                  for name, colour, share in shown)
    return f'<div class="bar" role="img" aria-label="shares of a step">{bar}</div><div class="key">{key}</div>'


def card(picture: Picture) -> str:
    title = escape(picture.title)
    svg = picture.svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    for colour, name in ((INK, "ink"), (AXIS, "axis"), (GRID, "grid")):  # these follow the page from light to dark
        svg = svg.replace(colour, f"var(--{name})")
    return f"<figure><h3>{title}</h3>{svg}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def grid(cards) -> str:
    return f'<div class="figures">{"".join(cards)}</div>'


def errors(a: Analysis, pictures: list[Picture]) -> list[str]:
    """The confusion matrix, beside it what is confused most; worst classes and images."""
    evaluation = a.run.evaluation
    if not evaluation or not evaluation["classes"]:
        return []
    names = [c["name"] for c in evaluation["classes"]]
    pairs = [[label, predicted, words.count(images), words.percent(share)]
             for label, predicted, images, share in most_confused(evaluation)]
    rows = [[c["name"], words.count(c["samples"]), words.count(c["samples"] - c["correct"]),
             words.percent(c["correct"] / max(c["samples"], 1), 2)]
            for c in sorted(evaluation["classes"], key=lambda c: c["correct"] / max(c["samples"], 1))]
    worst = [[w["name"], name_of(names, w["label"]), name_of(names, w["predicted"]), words.count(w["index"]),
              number(w["loss"], 2)] for w in evaluation["worst"]]
    beside = ""
    if pairs:
        titles = ["true class", "predicted", "images", "of the class"]
        beside += f"<h3>Most frequent errors</h3>{table(titles, pairs, 2)}"
    beside += folded("Accuracy of each class, worst first", table(["class", "images", "wrong", "accuracy"], rows, 1))
    if worst:
        titles = ["image", "true class", "predicted", "index", "loss"]
        beside += folded("Images with the largest loss", table(titles, worst, 3))
    matrix = [card(p) for p in pictures if p.name == "confusion"]
    return ["<h2>Errors</h2>", grid([*matrix, f'<div class="beside">{beside}</div>'])]


def name_of(names: list[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else str(label)


def epochs(a: Analysis) -> list[str]:
    if len(a.run.epochs) == 0:
        return []
    rows = [[str(int(e.epoch)), number(e.train_loss, 4), words.percent(e.train_accuracy, 2), number(e.val_loss, 4),
             words.percent(e.val_accuracy, 2), words.percent(e.val_top5_accuracy, 2), f"{e.learning_rate:.3g}",
             words.seconds(e.train_s), words.seconds(e.val_s)] for e in a.run.epochs.itertuples()]
    titles = ["epoch", "training loss", "training accuracy", "validation loss", "validation accuracy", "top 5",
              "learning rate", "training", "validation"]
    sheet = table(titles, rows, 0)
    return ["<h2>Epochs</h2>", sheet if len(rows) <= LONG_TABLE else folded(f"All {len(rows)} epochs", sheet)]


def ranks(a: Analysis) -> list[str]:
    rows = [[str(r.rank), r.host or words.MISSING,
             *map(words.seconds, (r.median_step_s, r.mean_wait_data_s, r.mean_forward_s, r.mean_backward_s,
                                  r.mean_straggler_s, r.mean_exchange_s)),
             words.percent(r.times_last / max(a.met.sum(), 1)), words.seconds(r.median_lateness_s),
             words.digits(r.busy_cores), words.bytes_(r.sent_bytes / max(r.steps, 1)), words.bytes_(r.peak_rss_bytes)]
            for r in rank_table(a).itertuples()]
    titles = ["rank", "host", "step", "data", "forward", "backward", "late rank", "exchange", "last in", "lateness",
              "busy cores", "sent a step", "peak memory"]
    sheet = table(titles, rows, 2)
    return ["<h2>Ranks</h2>",
            '<p class="soft">Step and lateness are medians, phases are means. Lateness is the arrival at the sum of '
            "gradients after the first rank. Busy cores is processor time by elapsed time.</p>",
            sheet if len(rows) <= LONG_TABLE else folded(f"All {len(rows)} ranks", sheet)]


def parameter_servers(a: Analysis) -> list[str]:
    if not a.run.servers:
        return []
    rows = [[str(r.rank), r.host or words.MISSING, words.count(r.updates), words.digits(r.updates_per_second),
             *map(words.seconds, (r.median_wait_s, r.median_update_s, r.median_answer_s)), words.percent(r.busy_share),
             words.bytes_(r.sent_bytes / r.updates), words.bytes_(r.peak_rss_bytes)]
            for r in servers.server_table(a.run).itertuples()]
    titles = ["rank", "host", "updates", "updates/s", "waiting", "updating", "answering", "busy", "sent an update", "peak memory"]
    return ["<h2>Parameter servers</h2>", *(f"<p>{escape(sentence)}</p>" for sentence in servers.about_servers(a)),
            '<p class="soft">Medians over updates. Waiting is for pushes of workers.</p>', table(titles, rows, 2)]


def details(a: Analysis) -> list[str]:
    info = a.run.info
    rows = [["command", str(info.get("command_line", ""))], ["backend", str(info.get("backend", ""))],
            ["dataset", str(info.get("dataset", ""))], ["parameters", words.count(a.run.number("parameters"))],
            ["micro-batches", words.count(a.run.number("micro_batches"))], ["directory", str(a.run.path)]]
    rows += [[f"build: {key}", str(value)] for key, value in dict_of(info, "build").items()]
    rows += [[f"environment: {key}", str(value)] for key, value in dict_of(info, "environment").items()]
    rows += [[f"--{key}", str(value)] for key, value in dict_of(info, "options").items()]
    lines = "".join(f'<tr><td class="left">{escape(key)}</td><td class="left wrap">{escape(value)}</td></tr>'
                    for key, value in rows if value)
    sheet = f'<div class="sheet"><table>{lines}</table></div>'
    return ["<h2>How it was run</h2>", folded("Options, build and environment", sheet)]


def dict_of(info: dict, key: str) -> dict:
    value = info.get(key)
    return value if isinstance(value, dict) else {}


def number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if np.isfinite(value) else words.MISSING


def folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def table(titles: list[str], rows: list[list[str]], left_columns: int) -> str:
    """The first columns are words, the others numbers."""
    def line(cells, tag):
        return "<tr>" + "".join(f'<{tag}{" class=left" if i < left_columns else ""}>{escape(cell)}</{tag}>'
                                for i, cell in enumerate(cells)) + "</tr>"
    return f'<div class="sheet"><table>{line(titles, "th")}{"".join(line(row, "td") for row in rows)}</table></div>'
