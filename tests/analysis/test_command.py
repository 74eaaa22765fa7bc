"""The command `brigade-analysis`: from any directory, with a Python that has what it needs, or a message that says what is missing."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from synthetic_run import Synthetic, write_run

COMMAND = pathlib.Path(__file__).resolve().parents[2] / "analysis/brigade-analysis"


def run(*arguments, command=COMMAND, cwd=None, python=None):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "PYTHONPATH")}
    if python:
        environment["PYTHON"] = str(python)
    return subprocess.run(list(map(str, [command, *arguments])), cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def interpreter(path, modules):
    """A Python that has none but these modules, which are empty."""
    own = path.with_suffix(".modules")
    own.mkdir()
    for module in modules:
        (own / f"{module}.py").touch()
    path.write_text(f'#!/bin/sh\nPYTHONPATH={own} exec {sys.executable} -S "$@"\n')
    path.chmod(0o755)
    return path


def test_report_through_a_link_from_another_directory(tmp_path):
    write_run(tmp_path / "first", Synthetic(ranks=2, epochs=1))
    link = tmp_path / "bin/brigade-analysis"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(COMMAND, link.parent))
    result = run("report", "first", command=link, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "report: first/report/index.html"
    assert (tmp_path / "first/report/index.html").stat().st_size > 10_000


def test_predict(tmp_path):
    for nodes in (1, 2):
        write_run(tmp_path / str(nodes), Synthetic(ranks=nodes, ranks_per_host=1, epochs=1))
    result = run("predict", "--nodes", "1..8", "--link-gbps", 200, "--latency-us", 2, "--json", "rows.json", "1", "2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("fitted to 2 runs: ")
    assert sorted({row["nodes"] for row in json.loads((tmp_path / "rows.json").read_text())}) == [1, 2, 4, 8]


def test_exit_codes_are_those_of_the_program(tmp_path):
    missing, wrong = run("report", tmp_path / "nothing"), run("draw")
    assert missing.returncode == 3 and f"{tmp_path}/nothing is no directory" in missing.stderr
    assert wrong.returncode == 2 and "invalid choice: 'draw'" in wrong.stderr


@pytest.mark.parametrize("modules, missing", [
    ((), "numpy, pandas, matplotlib, scipy"),
    (("numpy", "pandas", "matplotlib"), "scipy"),
])
def test_what_is_missing_is_said(tmp_path, modules, missing):
    python = interpreter(tmp_path / "python", modules)
    result = run("report", "first", python=python)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (f"no Python with numpy pandas matplotlib scipy was found ({python} has no {missing}). Install Debian's "
                             "python3-numpy python3-pandas python3-matplotlib python3-scipy (jobs/setup.sh does), or set PYTHON to "
                             "one that has them?\n")


def test_a_python_that_is_none(tmp_path):
    result = run("report", "first", python=tmp_path / "nothing")
    assert result.returncode == 2 and f"({tmp_path}/nothing does not run)" in result.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python looks for modules in the working directory")
def test_files_of_the_working_directory_are_not_imported(tmp_path):
    (tmp_path / "pandas.py").write_text("raise SystemExit('the wrong pandas')")
    result = run("report", "nothing", cwd=tmp_path)
    assert result.returncode == 3, result.stderr
