"""Reads the logs of Brigade runs and makes tables, plots and one HTML page of them.

    load.py       the files of a run -> Run (validated; what is missing or cut off becomes a note)
    aggregate.py  Run -> Analysis (numbers over ranks and steps; no files, no plots)
    tables.py     Analysis -> CSV files, text on the terminal
    plots.py      Analysis -> SVG pictures
    html.py       all of it -> one self-contained page

Only what src/telemetry and src/training wrote is read; the meaning of each column is in include/brigade/telemetry/.
"""
