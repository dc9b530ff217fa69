import argparse
import io
import json

import pytest
import torch
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import Vocabulary
from allennlp.models import Model
from allennlp.models.archival import archive_model, load_archive
from allennlp.predictors import Predictor
from rich.console import Console

from allennlp_influence.commands.saliency import (
    Rendering,
    SaliencyCommand,
    saliency_from_archive,
    style_of,
)
from allennlp_influence.data.example import Example
from allennlp_influence.saliency import GradientXInput, Saliency, Word

TEXTS = ["a film sometimes tedious .", "good", "a good film , sometimes"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> str:
    """An archived random classifier over word embeddings."""
    folder = tmp_path_factory.mktemp("archive")
    config = {
        "dataset_reader": {
            "type": "text_classification_json",
            "tokenizer": "whitespace",
            "token_indexers": {"tokens": "single_id"},
        },
        "model": {
            "type": "basic_classifier",
            "text_field_embedder": {
                "token_embedders": {"tokens": {"type": "embedding", "embedding_dim": 6}}
            },
            "seq2vec_encoder": {"type": "lstm", "input_size": 6, "hidden_size": 8},
        },
    }
    vocabulary = Vocabulary()
    vocabulary.add_tokens_to_namespace(" ".join(TEXTS).split(), "tokens")
    vocabulary.add_tokens_to_namespace(["neg", "pos"], "labels")
    vocabulary.save_to_files(str(folder / "vocabulary"))
    torch.manual_seed(0)
    model = Model.from_params(Params(config["model"]).duplicate(), vocab=vocabulary)
    torch.save(model.state_dict(), folder / "weights.th")
    (folder / "config.json").write_text(json.dumps(config))
    archive_model(str(folder), weights="weights.th")
    return str(folder / "model.tar.gz")


@pytest.fixture
def data_file(tmp_path) -> str:
    path = tmp_path / "data.jsonl"
    rows = [{"text": text, "label": "neg"} for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def json_file(tmp_path) -> str:
    path = tmp_path / "inputs.jsonl"
    first, *rest = [json.dumps({"sentence": text}) + "\n" for text in TEXTS]
    path.write_text(first + "\n" + "".join(rest))
    return str(path)


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    SaliencyCommand().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["saliency", *arguments])
    args.func(args)


def read(path) -> list:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("batch_size", ["1", "2", "32"])
def test_writes_the_interpreters_numbers_one_line_an_input(
    archive, data_file, tmp_path, batch_size
):
    output = tmp_path / "out.jsonl"
    arguments = ["--output-file", str(output), "--silent", "--batch-size", batch_size]
    run(archive, data_file, *arguments)
    predictor = Predictor.from_archive(load_archive(archive), "text_classifier")
    instances = list(predictor._dataset_reader.read(data_file))
    expected = GradientXInput(predictor).explain(instances)
    lines = read(output)
    assert [line["id"] for line in lines] == [1, 2, 3]
    for line, text, saliency in zip(lines, TEXTS, expected):
        assert list(line["text"].values()) == [text] and line["gold"] == "neg"
        assert line["predicted"] == line["explained"] == saliency.predicted
        assert dict(zip(line["labels"], line["probabilities"])) == pytest.approx(
            dict(zip(saliency.labels, saliency.probabilities))
        )
        assert line["saliency"]["tokens"] == text.split()
        assert line["saliency"]["scores"] == pytest.approx(list(saliency.scores), abs=1e-6)
        assert [word["text"] for word in line["saliency"]["words"]] == text.split()
    assert not (tmp_path / "out.jsonl.part").exists()


def test_reads_the_predictors_json_and_numbers_it_by_line(archive, data_file, json_file, tmp_path):
    by_reader, by_predictor = tmp_path / "reader.jsonl", tmp_path / "predictor.jsonl"
    run(archive, data_file, "--output-file", str(by_reader), "--silent")
    run(archive, json_file, "--output-file", str(by_predictor), "--silent")
    lines = read(by_predictor)
    assert [line["id"] for line in lines] == [1, 3, 4]  # line 2 is empty
    assert [line["gold"] for line in lines] == [None] * 3
    assert [line["saliency"]["scores"] for line in lines] == [
        pytest.approx(line["saliency"]["scores"], abs=1e-6) for line in read(by_reader)
    ]


def test_explains_the_label_asked_for(archive, data_file, tmp_path):
    outputs = {}
    for label in ("pos", "neg", "gold"):
        output = tmp_path / f"{label}.jsonl"
        run(archive, data_file, "--output-file", str(output), "--silent", "--label", label)
        outputs[label] = read(output)
    assert outputs["gold"] == outputs["neg"]
    for positive, negative in zip(outputs["pos"], outputs["neg"]):
        assert (positive["explained"], negative["explained"]) == ("pos", "neg")
        # Of two labels, what supports one opposes the other.
        assert positive["saliency"]["scores"] == pytest.approx(
            [-score for score in negative["saliency"]["scores"]], abs=1e-5
        )


def test_an_error_is_one_line_and_leaves_the_output_as_it_was(
    archive, data_file, json_file, tmp_path
):
    output = tmp_path / "out.jsonl"
    output.write_text("yesterday's\n")
    with open(json_file, "a") as broken:
        broken.write("{not json\n")
    ends = {
        'no label "maybe". Its labels: neg, pos.': (archive, data_file, "--label", "maybe"),
        "example 1 has none": (archive, json_file, "--label", "gold", "--batch-size", "1"),
        "line 5: this is not JSON": (archive, json_file, "--batch-size", "1"),
        "nothing.jsonl does not exist": (archive, "nothing.jsonl"),
        "archive nothing.tar.gz does not exist": ("nothing.tar.gz", data_file),
        "--batch-size must be at least 1, not 0": (archive, data_file, "--batch-size", "0"),
    }
    for message, arguments in ends.items():
        with pytest.raises(SystemExit) as exit:
            run(*arguments, "--output-file", str(output), "--silent")
        assert str(exit.value).startswith("allennlp saliency: ") and message in str(exit.value)
        assert "\n" not in str(exit.value)
        assert output.read_text() == "yesterday's\n"
        assert not (tmp_path / "out.jsonl.part").exists()
    with pytest.raises(SystemExit, match="cannot be written"):
        run(archive, data_file, "--output-file", str(tmp_path / "no" / "out.jsonl"))
    with pytest.raises(SystemExit, match="nothing to do"):
        run(archive, data_file, "--silent")
    with pytest.raises(ConfigurationError):  # as a function it raises
        saliency_from_archive(archive, data_file, label="maybe")


def test_without_a_terminal_each_word_carries_its_score(archive, data_file, capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    run(archive, data_file)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    heading, words = out.splitlines()[3:5]
    assert heading.startswith("2  ") and ", gold neg" in heading
    assert words.strip() in ("good(+1.00)", "good(-1.00)")


EXAMPLE = Example(id=7, text={"premise": "[b] a", "hypothesis": "c"}, label="x", columns={})
SALIENCY = Saliency(
    tokens=("[b]", "a", "c"),
    scores=(0.6, 0.0, -0.4),
    fields=("tokens",) * 3,
    words=(Word("[b]", 0.6, "premise"), Word("a", 0.0, "premise"), Word("c", -0.4, "hypothesis")),
    label="y",
    predicted="y",
    labels=("x", "y"),
    probabilities=(0.25, 0.75),
    loss=0.29,
    norm=1.0,
)


def render(**console) -> list:
    out = io.StringIO()
    Rendering(Console(file=out, width=20, **console)).show(EXAMPLE, SALIENCY)
    return out.getvalue().splitlines()


def test_in_a_terminal_blue_supports_orange_opposes_and_zero_has_no_colour(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = dict(force_terminal=True, color_system="truecolor")
    legend, heading, premise, hypothesis = render(**terminal)
    assert "7  y 75.0%, gold x (wrong), scale ±0.60" in heading
    blue, orange = "48;2;49;130;189", "48;2;253;141;60"  # 0.4 is step 3 of 4 of a scale of 0.6
    assert f"{blue}m[b]\x1b[0m a" in premise and f"{orange}mc\x1b" in hypothesis
    assert blue in legend and "48;2;230;85;13" in legend

    monkeypatch.setenv("NO_COLOR", "1")
    assert render(**terminal)[2].endswith("premise: [b](+0.60) a")


def test_without_colours_the_same_is_said_in_numbers():
    assert render()[1:] == [
        "7  y 75.0%, gold x (wrong), scale ±0.60",
        "  premise: [b](+0.60) a",
        "  hypothesis: c(-0.40)",
    ]


def test_colour_grows_with_the_score():
    styles = [style_of(score, 0.4) for score in (0.0, 0.04, 0.1, 0.2, 0.3, 0.4)]
    assert styles[:2] == ["", ""] and len(set(styles[2:])) == 4
    assert style_of(0.0, 0.0) == "" and style_of(-0.4, 0.4) != style_of(0.4, 0.4)
