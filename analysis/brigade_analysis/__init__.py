"""Reads the logs of Brigade runs and makes tables, plots and one HTML page of them.

    load.py       the files of a run -> Run (validated; what is missing or cut off becomes a note)
    aggregate.py  Run -> Analysis (numbers over ranks and steps; no files, no plots)
    tables.py     Analysis -> CSV files, text on the terminal
    plots.py      Analysis -> SVG pictures
    html.py       all of it -> one self-contained page

and of several runs:

    scaling.py          runs -> strong and weak series: efficiency, and what was lost where
    stragglers.py       a run -> its late ranks, and why
    scaling_words.py    what limits scaling, in sentences
    scaling_report.py   the page, pictures and tables of a study
    ring_model.py       runs on few nodes -> the terms of a step; prediction for more, with a band
    ring_simulation.py  the bucketed, overlapped ring message by message, to check the model
    prediction.py       the command that brings these together
    ratios.py           steps of Brigade beside PyTorch's

Only what src/telemetry and src/training wrote is read; the meaning of each column is in include/brigade/telemetry/.
"""
