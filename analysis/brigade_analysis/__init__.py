"""Reads the logs of Brigade runs and makes tables, plots and one HTML page of them.

    load.py       the files of a run -> Run (validated; what is missing or cut off becomes a note)
    aggregate.py  Run -> Analysis (numbers over ranks and steps; no files, no plots)
    causes.py     what a rank's arrival at a sum is made of
    tables.py     Analysis -> CSV files, text on the terminal
    plots.py      Analysis -> SVG pictures
    html.py       all of it -> one self-contained page

and of several runs:

    scaling.py          runs -> strong and weak series: efficiency, and what was lost where
    stragglers.py       a run -> its late ranks, and why
    scaling_words.py    what limits scaling, in sentences
    scaling_report.py   the page, pictures and tables of a study
    step_model.py       runs on few nodes -> the terms of a step on any number of them
    network.py          of these, what backward does not hide of a sum over nodes
    imbalance.py        and how far apart ranks arrive: always, and by chance
    forecast.py         what the model says of other nodes, with a band
    exchange.py         bytes and rounds of the sums of every algorithm, on nodes of several ranks
    exchange_simulation.py  bucketed, overlapped sums message by message, to check the model
    wire.py             bytes on the busiest node's link
    crowding.py         whether ranks shared processors
    servers.py          parameter servers, and how stale gradients were
    prediction.py       the command that brings these together
    outlook.py          its answer for the nodes of a study, in the study's report
    ratios.py           steps of Brigade beside PyTorch's

Only what src/telemetry and src/training wrote is read; the meaning of each column is in include/brigade/telemetry/.
"""
