"""The study of reading on logs whose slopes are known."""
import json

import pytest

from brigade_analysis.__main__ import main
from brigade_analysis.io_study import correlations, load_study, ratios, regressions, speeds
from brigade_analysis.load import RunError

HEADER = ("format,reader,order,cache,batch_size,batches,dataset_images,repetition,ranks,rank,pipeline,prefetch,data_threads,"
          "emulated_step_s,start_s,seconds,open_s,read_s,decode_s,augment_s,wait_data_s,compute_s,images,stored_bytes,"
          "images_per_s,stored_bytes_per_s,batch_p50_s,batch_p90_s,batch_p99_s,batch_max_s,utilisation,"
          "resident_before,reader_used,collective_calls,collective_reads,cpu_user_s,cpu_system_s,read_bytes,written_bytes,major_faults,"
          "involuntary_switches,peak_rss_bytes,node_cpu_busy_s,node_cpu_iowait_s,node_page_cache_bytes,"
          "node_disk_read_bytes,node_disk_reads,node_disk_busy_s,node_network_received_bytes,node_network_sent_bytes")


def line(form, cache, batch, batches, repetition, speed, rank=0, ranks=1, reader="mmap", order="shuffled", slower=1.0):
    """`speed` images/s over all ranks; this rank's time is `slower` times what that makes."""
    images = batch * batches
    seconds = images * ranks / speed * slower
    row = dict.fromkeys(HEADER.split(","), 0)
    row |= {"format": form, "reader": reader, "order": order, "cache": cache, "batch_size": batch, "batches": batches,
            "dataset_images": 100, "repetition": repetition, "ranks": ranks, "rank": rank, "pipeline": "train",
            "prefetch": 3, "data_threads": 1, "seconds": repr(seconds), "open_s": 0.1, "read_s": 0.3, "decode_s": 0.5,
            "augment_s": 0.1, "images": images, "stored_bytes": 1000 * images, "resident_before": cache == "warm",
            "reader_used": reader}
    return ",".join(str(int(value) if isinstance(value, bool) else value) for value in row.values())


def write(directory, lines, rank=0, end="\n"):
    directory.mkdir(exist_ok=True)
    (directory / f"io-{rank:05}.csv").write_text("\n".join([HEADER, *lines]) + end)
    return directory


# Throughput: exactly linear for image files, 70 times as much and against the batch size for raw shards.
def speed_of(form, cache, batch, repetition):
    base = 100 + 5 * batch if form == "files" else 70 * (100 + 5 * batch)
    return base * (0.5 if cache == "cold" else 1) + (repetition - 1 if form == "raw" else 0)


@pytest.fixture
def directory(tmp_path):
    return write(tmp_path / "io", [
        line(form, cache, batch, batches, repetition, speed_of(form, cache, batch, repetition),
             reader="source" if form == "files" else "mmap")
        for repetition in range(3) for form in ("files", "raw") for cache in ("warm", "cold") for batch in (2, 4, 8)
        for batches in (3, 6)])


def fit_of(fits, way, cache, parameter):
    found = fits[(fits["way"] == way) & (fits["cache"] == cache) & (fits["parameter"] == parameter)]
    assert len(found) == 1
    return found.iloc[0]


def test_regressions_find_the_known_slopes(directory):
    fits = regressions(load_study([directory]))
    files = fit_of(fits, "image files", "warm", "batch size")
    assert files["slope_images_per_s"] == pytest.approx(5) and files["intercept_images_per_s"] == pytest.approx(100)
    assert files["r"] == pytest.approx(1) and files["p"] < 1e-9 and files["measurements"] == 18
    raw = fit_of(fits, "raw shards", "cold", "batch size")
    assert raw["slope_images_per_s"] == pytest.approx(175) and raw["intercept_images_per_s"] == pytest.approx(3500)
    assert 0.999 < raw["r"] < 1
    batches = fit_of(fits, "image files", "cold", "batches")  # does not matter at all
    assert batches["slope_images_per_s"] == pytest.approx(0, abs=1e-9) and batches["p"] > 0.99
    assert not (fits["parameter"] == "dataset size").any() and not (fits["parameter"] == "ranks").any()
    assert fit_of(fits, "raw shards", "warm", "repetition")["slope_images_per_s"] == pytest.approx(1)


def test_table_of_correlations(directory):
    table = correlations(regressions(load_study([directory]))).set_index("parameter")
    assert list(table.columns) == ["image files, warm", "image files, cold", "raw shards, warm", "raw shards, cold"]
    assert list(table.index) == ["batch size", "batches", "images read", "repetition"]
    assert table.loc["batch size", "image files, warm"] == pytest.approx(1)
    assert 0.5 < table.loc["images read", "image files, cold"] < 0.95


def test_ratios_are_of_equal_points(directory):
    table = ratios(load_study([directory]))
    assert list(table["cache"]) == ["warm", "cold"] and set(table["against"]) == {"image files"}
    assert table["ratio"].to_numpy() == pytest.approx(70) and (table["points"] == 6).all()


def test_speeds_and_work(directory):
    table = speeds(load_study([directory])).set_index(["way", "cache"])
    row = table.loc[("image files", "warm")]
    assert row["images_per_s_median"] == pytest.approx(120) and row["stored_bytes_per_s"] == pytest.approx(120000)
    assert [row[f"{stage}_share"] for stage in ("open", "read", "decode", "augment")] == pytest.approx([.1, .3, .5, .1])


def test_ranks_are_added_and_the_slowest_counts(tmp_path):
    lines = [[line("raw", "warm", 8, 4, repetition, 1000, rank, 2, slower=1 + rank) for repetition in range(2)]
             for rank in range(2)]
    write(tmp_path / "two", lines[0])
    write(tmp_path / "two", lines[1], rank=1)
    write(tmp_path / "one", [line("raw", "warm", 8, 4, repetition, 300) for repetition in range(2)])
    study = load_study([tmp_path / "two", tmp_path / "one"])
    two = study.measurements[study.measurements["ranks"] == 2]
    assert two["images_per_s"].to_numpy() == pytest.approx(500) and (two["images"] == 64).all()
    fit = fit_of(regressions(study), "raw shards", "warm", "ranks")
    assert fit["slope_images_per_s"] == pytest.approx(200) and fit["r"] == pytest.approx(1)


def test_readers_and_orders_are_told_apart(tmp_path):
    write(tmp_path / "io", [line("raw", "warm", 8, 4, 0, 900, reader="mmap"),
                            line("raw", "warm", 8, 4, 0, 300, reader="independent")])
    study = load_study([tmp_path / "io"])
    assert study.ways == ["raw shards, mmap", "raw shards, independent"]
    assert ratios(study)["ratio"].to_numpy() == pytest.approx(1 / 3)
    write(tmp_path / "io", [line("encoded", "warm", 8, 4, 0, 900, order=order) for order in ("shuffled", "sequential")])
    assert load_study([tmp_path / "io"]).ways == ["encoded shards, shuffled", "encoded shards, sequential"]


def test_report(directory, capsys):
    assert main(["io", str(directory)]) == 0
    out = capsys.readouterr().out
    assert "Correlation R" in out and "raw shards" in out and "70.0" in out
    report = directory / "report"
    content = json.loads((report / "io.json").read_text())
    assert content["ratios"][0]["ratio"] == pytest.approx(70) and len(content["speeds"]) == 4
    assert (report / "io-regressions.csv").read_text().startswith("way,cache,parameter")
    for name in ("io-speeds", "io-stages", "io-by-batch-size", "io-by-batches", "io-by-images-read"):
        svg = (report / f"{name}.svg").read_text()
        assert svg.startswith("<svg") and "page cache dropped" in svg
    assert "images of a rank" in (report / "io-by-batch-size.svg").read_text()


def test_a_killed_benchmark_can_be_looked_at(tmp_path):
    write(tmp_path / "io", [line("raw", "warm", 8, 4, 0, 900, 0, 2), line("raw", "cold", 8, 4, 0, 900, 0, 2)])
    write(tmp_path / "io", [line("raw", "warm", 8, 4, 0, 900, 1, 2), "raw,mmap,sh"], rank=1, end="")
    study = load_study([tmp_path / "io"])
    assert len(study.measurements) == 1 and study.caches == ["warm"]
    assert any("cut off" in note for note in study.notes) and any("not finished" in note for note in study.notes)


@pytest.mark.parametrize("lines, words", [
    (["raw,mmap,shuffled,warm,8"], "line 2 is damaged"),
    ([line("raw", "warm", 8, 4, 0, 900), line("hdf4", "warm", 8, 4, 0, 900)], "line 3 is damaged"),
    ([], "no measurement yet"),
    ([line("raw", "warm", 8, 4, 0, 900, 0, 2)], "1 rank of 2"),
])
def test_damage_is_named(tmp_path, lines, words):
    write(tmp_path / "io", lines)
    with pytest.raises(RunError, match=words):
        load_study([tmp_path / "io"])


def test_wrong_calls(tmp_path, capsys):
    assert main(["io", str(tmp_path)]) == 3
    assert "holds no io-*.csv" in capsys.readouterr().err
    (tmp_path / "io-00000.csv").write_text("format,reader\nraw,mmap\n")
    assert main(["io", str(tmp_path)]) == 3
    assert "has no columns order" in capsys.readouterr().err
