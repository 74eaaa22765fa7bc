"""Augmentation as a user meets it: the words, the contact sheet, what a run records."""
import json

import numpy
from PIL import Image

WORDS = "crop=2,flip,rotate=10,mixup=0.2,label-smoothing=0.1"
CANONICAL = "flip,rotate=10,crop=2,mixup=0.2,label-smoothing=0.1"


def test_contact_sheet_shows_originals_and_versions(brigade, dataset, tmp_path):
    sheet = tmp_path / "sheet.png"
    result = brigade("inspect", "--dataset", dataset, "--contact-sheet", sheet, "--augment", "flip,rotate=30,cutout=9",
                     "--pictures", 3, "--versions", 4)
    assert result.code == 0, result.all_err
    assert "flip,rotate=30,cutout=9" in result.out
    pixels = numpy.asarray(Image.open(sheet).convert("L"))
    cell, gap = 28 * 3, 4  # small pictures are magnified threefold
    assert pixels.shape == (3 * (cell + gap) + gap, 5 * (cell + gap) + gap)
    assert (pixels[:gap] == 255).all() and (pixels[:, :gap] == 255).all()
    cells = [[pixels[gap + r * (cell + gap):][:cell, gap + c * (cell + gap):][:, :cell] for c in range(5)] for r in range(3)]
    for row in cells:
        assert (row[0] == 200).sum() == 7 * 7 * 9  # the block of the synthetic picture, untouched
        for version in row[1:]:
            assert (version != row[0]).any()


def test_unknown_words_are_named(brigade, dataset, tmp_path):
    result = brigade("train", "--dataset", dataset, "--run", tmp_path / "run", "--augment", "flip,zom=0.1", ranks=2)
    assert result.code == 2
    assert "does not know 'zom' (the nearest word is zoom). Write zoom=Z?" in result.errors[0]
    assert "--contact-sheet" in brigade("inspect", "--dataset", dataset, "--augment", "flip").errors[0]


def test_a_run_records_its_augmentation_and_refuses_another(brigade, dataset, tmp_path):
    run = tmp_path / "run"
    config = tmp_path / "options.ini"
    config.write_text(f"augment = {WORDS}\ndata-threads = 2\n")
    command = ["train", "--dataset", dataset, "--run", run, "--network", "lenet5", "--batch-size", 40, "--max-steps", 3,
               "--config", config]
    plan = brigade(*command, "--dry-run")
    assert f"{CANONICAL}; 2 data threads a rank" in plan.out, plan.all_err
    assert brigade(*command).code == 0
    assert json.loads((run / "run.json").read_text())["options"]["augment"] == CANONICAL
    again = brigade(*command, "--resume", "--augment", "flip")
    assert again.code == 2
    assert f"with another augment (it was {CANONICAL}, now flip)" in again.errors[0]
