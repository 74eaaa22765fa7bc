"""brigade-analysis report RUN | compare RUN... | scaling RUN... | predict RUN... | ratios FILE... | io DIR..."""
import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

NEEDED = {"numpy": "python3-numpy", "pandas": "python3-pandas", "matplotlib": "python3-matplotlib"}
NEEDED_BY = {command: {"scipy": "python3-scipy"} for command in ("io", "predict", "scaling")}
BAD_OPTIONS, BAD_DATA = 2, 3  # exit codes, as the program's


def parser_of_commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="brigade-analysis",
                                     description="Tables, plots and a page from the logs of a run.")
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="write RUN/report: index.html, tables and plots")
    report.add_argument("run", help="the directory that `brigade train --run` named")
    compare = commands.add_parser("compare", help="print one table of several runs")
    compare.add_argument("runs", nargs="+", metavar="RUN")
    ratios = commands.add_parser("ratios", help="print Brigade's steps beside PyTorch's, with what was wanted")
    ratios.add_argument("files", nargs="+", metavar="FILE", help="what tests/peers/compare_step.py wrote")
    io = commands.add_parser("io", help="write DIR/report: throughput by format and parameter, regressions, plots")
    io.add_argument("directories", nargs="+", metavar="DIR",
                    help="what `brigade bench io --output` named; several (of other numbers of ranks) count as one")
    scaling = commands.add_parser("scaling", help="strong and weak scaling of several runs, and what limits it")
    scaling.add_argument("runs", nargs="+", metavar="RUN")
    scaling.add_argument("--output", default="scaling-report", metavar="DIR", help="for index.html, tables and plots (%(default)s)")
    scaling.add_argument("--link-gbps", type=positive, metavar="G", help="what a node's link carries, to say how busy it was")
    predict = commands.add_parser("predict", help="fit a model to runs on few nodes, predict images/s on others")
    predict.add_argument("runs", nargs="+", metavar="RUN",
                         help="on one and two or more nodes, of one network, all with as many ranks a node")
    predict.add_argument("--nodes", default="1..4096", metavar="LIST", help="1,2,4 or 1..4096, by powers of two (%(default)s)")
    predict.add_argument("--fit-nodes", metavar="LIST", help="fit to runs on these only; the others are for comparison (all)")
    predict.add_argument("--fit-link-gbps", type=positive, metavar="G", help="what links of the runs carry: no sum was quicker (not known)")
    predict.add_argument("--link-gbps", type=positive, metavar="G", help="what links will carry (as in the runs)")
    predict.add_argument("--latency-us", type=not_negative, metavar="U", help="latency of a message (as in the runs)")
    predict.add_argument("--wire", choices=["fp32", "bf16", "fp16"], help="format in which a ring's floats would travel (as in the runs)")
    predict.add_argument("--json", metavar="FILE", help="all numbers, for programs")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = parser_of_commands().parse_args(arguments)
    needed = NEEDED | NEEDED_BY.get(options.command, {})
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        print(f"brigade-analysis: {explain_missing(missing, needed)}", file=sys.stderr)
        return BAD_OPTIONS
    try:
        from .load import RunError
        if options.command == "ratios":
            return print_ratios(options.files)
        if options.command == "io":
            return report_io(options.directories)
        if options.command == "scaling":
            return make_scaling_report(options)
        if options.command == "predict":
            return print_predictions(options)
        return make_report(options.run) if options.command == "report" else print_comparison(options.runs)
    except RunError as error:
        print(f"brigade-analysis: {error}", file=sys.stderr)
        return BAD_DATA
    except BrokenPipeError:  # who reads, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"brigade-analysis: cannot write {error.filename} ({error.strerror}).", file=sys.stderr)
        return BAD_DATA


def positive(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise ValueError(text)
    return value


def not_negative(text: str) -> float:
    if not 0 <= (value := float(text)) < float("inf"):
        raise ValueError(text)
    return value


def explain_missing(missing: list[str], needed: dict[str, str]) -> str:
    """Which interpreter to use instead, or what to install."""
    problem = f"{sys.executable} has no {' and no '.join(missing)}."
    for other in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(other).exists() and not os.path.samefile(other, sys.executable):
            found = subprocess.run([other, "-c", f"import {', '.join(needed)}"], capture_output=True, check=False)
            if found.returncode == 0:
                return f"{problem} Use {other} -m brigade_analysis {' '.join(sys.argv[1:])}?"
    return (f"{problem} Install them (Debian: apt install {' '.join(needed[name] for name in missing)}; elsewhere: "
            f"{sys.executable} -m pip install {' '.join(missing)})?")


def make_report(path: str) -> int:
    from . import html, plots, tables
    from .aggregate import analyse
    from .load import load_run

    analysis = analyse(load_run(path))
    directory = analysis.run.path / "report"
    directory.mkdir(exist_ok=True)
    tables.write_tables(analysis, directory)
    pictures = plots.draw_all(analysis)
    for picture in pictures:
        tables.write_text(directory / f"{picture.name}.svg", picture.svg)
    page = directory / "index.html"
    tables.write_text(page, html.page(analysis, pictures))
    print(tables.text_summary(analysis))
    print(f"report: {page}")
    return 0


def print_comparison(paths: list[str]) -> int:
    """A run that cannot be read is named, and does not hide the others."""
    from .aggregate import analyse, summary_row
    from .load import RunError, load_run
    from .tables import comparison

    rows, failed = [], False
    for path in paths:
        try:
            rows.append(summary_row(analyse(load_run(path))))
        except RunError as error:
            print(f"brigade-analysis: {error}", file=sys.stderr)
            failed = True
    if rows:
        print(comparison(rows))
    return BAD_DATA if failed else 0


def load_measurements(paths: list[str]):
    """A run that cannot be read is named, and does not hide the others."""
    from .load import RunError, load_run
    from .scaling import measure

    runs = []
    for path in paths:
        try:
            runs.append(measure(load_run(path)))
        except RunError as error:
            print(f"brigade-analysis: {error} It is left out.", file=sys.stderr)
    if not runs:
        raise RunError("none of the runs can be read.")
    return runs


def make_scaling_report(options) -> int:
    from .load import RunError
    from .scaling import find_series
    from .scaling_report import write_study

    runs = load_measurements(options.runs)
    if not find_series(runs):
        raise RunError("no two runs differ in nodes (or ranks) only. Make some with jobs/scaling-study.sh?")
    print("\n".join(line for line in write_study(runs, Path(options.output), options.link_gbps) if line))
    print(f"report: {Path(options.output) / 'index.html'}")
    return 0


def print_predictions(options) -> int:
    import json

    from .prediction import SPLIT_TITLES, about_fit, about_hosts, describe, parse_nodes, predictions, split_rows, text_table
    from .tables import align, write_text

    nodes = parse_nodes(options.nodes)
    fit_nodes = parse_nodes(options.fit_nodes) if options.fit_nodes else None
    runs = load_measurements(options.runs)
    link = (options.link_gbps, options.latency_us, options.wire)
    fitted, rows = predictions(runs, nodes, fit_nodes, link, options.fit_link_gbps)
    used = [run for run in runs if fit_nodes is None or run.nodes in fit_nodes]
    print(f"fitted to {len(used)} runs: {describe(fitted.model)}\n")
    print("\n".join([text_table(rows), *(f"* {line}" for line in about_hosts(rows)), *about_fit(fitted, used)]))
    if split := split_rows(rows):
        print("\n" + align([SPLIT_TITLES, *split], left=0))
    if options.json:
        write_text(Path(options.json), json.dumps(rows, indent=1).replace("NaN", "null") + "\n")
    return 0


def print_ratios(paths: list[str]) -> int:
    from .ratios import load_rows, ratio_table

    print(ratio_table([row for path in paths for row in load_rows(path)]))
    return 0


def report_io(paths: list[str]) -> int:
    from .io_report import write_report
    from .io_study import load_study

    print(write_report(load_study(paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
