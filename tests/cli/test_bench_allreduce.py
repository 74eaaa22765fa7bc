"""`brigade bench allreduce` as a user meets it."""
import json


def test_rows_and_formula(brigade, tmp_path):
    file = tmp_path / "allreduce.json"
    result = brigade("bench", "allreduce", "--min-bytes", "4K", "--max-bytes", "64K", "--repetitions", 3, "--json", file,
                     ranks=3)
    assert result.code == 0, result.all_err
    assert "2 (N-1) / N, N = 3" in result.out
    report = json.loads(file.read_text())
    assert (report["ranks"], report["ranks_per_node"], report["nodes"]) == (3, 3, 1)
    assert [row["bytes"] for row in report["rows"]] == [size for size in (4096, 16384, 65536) for _ in range(8)]
    assert [row["algorithm"] for row in report["rows"][:8]] == [
        "auto", "hierarchical, private", "ring", "ring, bf16 wire", "ring, fp16 wire", "halving-doubling", "mpi",
        "MPI_Allreduce"]
    for row in report["rows"]:
        assert abs(row["algorithm_bytes_per_s"] * row["seconds"]["median"] / row["bytes"] - 1) < 1e-9
        assert abs(row["bus_bytes_per_s"] / row["algorithm_bytes_per_s"] - 4 / 3) < 1e-9
        assert row["seconds"]["p10"] <= row["seconds"]["median"] <= row["seconds"]["max"]


def test_one_rank_has_nothing_to_sum(brigade):
    result = brigade("bench", "allreduce")
    assert result.code == 2 and len(result.errors) == 1 and "mpirun -n 2" in result.errors[0], result.all_err


def test_a_table_needs_nodes_to_measure(brigade, tmp_path):
    result = brigade("bench", "allreduce", "--table", tmp_path / "table.json", ranks=2)
    assert result.code == 2 and len(result.errors) == 1, result.all_err
    assert "all 2 ranks share the memory of one" in result.errors[0] and not (tmp_path / "table.json").exists()
