"""A result directory taken up again: the same scores, and nothing else than what it was made of."""

import shutil

import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.commands.reopening import Reopening
from allennlp_influence.influence.results import open_results
from tests.commands.test_influence import sst2_archive, write_tsv
from tests.influence.archives import QUERIES, TEXTS

TRAIN_LABELS = "0100010001"


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_transformer):
    """An archive, its training file, the inputs, and a function that explains them."""
    folder = tmp_path_factory.mktemp("reopening")
    archive = sst2_archive(folder, tiny_transformer("bert"))
    inputs = str(write_tsv(folder / "dev.tsv", QUERIES, "01"))

    def explained(name, **options):
        return open_results(explain_archive(archive, inputs, str(folder / name), **options))

    return explained, folder


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": {"type": "lissa", "depth": 20, "scale": 100}},
        {"solver": {"type": "gauss-newton", "damping": 1}, "label": "1"},
        {"label": "gold", "normalisation": "cosine", "solver": "identity"},
        {"params_to_freeze": ["_text_field_embedder"], "solver": "ek-fac"},
        {
            "overrides": '{"dataset_reader.max_instances": 8}',
            "solver": {
                "type": "conjugate-gradient",
                "num_examples": 4,
                "preconditioner": {"type": "ek-fac"},
            },
        },
    ],
    ids=lambda options: ",".join(options) or "default",
)
def test_the_same_scores_again(options, run, tmp_path):
    explained, _ = run
    results = explained(tmp_path.name, **options)
    reopened = Reopening(results)
    instances = [instance for instance, _ in reopened.queries]
    assert [example.id for _, example in reopened.queries] == results.query_ids
    again = reopened.interpreter.interpret_instances(instances)
    assert (results.scores == [explanation.scores for explanation in again]).all()
    assert [line["explained"] for line in results.explanations] == [e.explained for e in again]


def test_at_the_checkpoints_of_the_run(run, tmp_path):
    explained, folder = run
    results = explained(tmp_path.name, checkpoints=[str(folder / "model")], solver="identity")
    reopened = Reopening(results)
    again = reopened.interpreter.interpret_instances([x for x, _ in reopened.queries])
    assert (results.scores == [explanation.scores for explanation in again]).all()


def test_what_has_moved_is_found_and_what_has_changed_is_refused(run, tmp_path):
    explained, folder = run
    results = explained(tmp_path.name)

    def at(name, **places):
        return getattr(Reopening(results, **places), name)

    moved = shutil.copy(folder / "train.tsv", tmp_path / "moved.tsv")
    assert len(at("interpreter", train_data=str(moved)).examples) == len(TEXTS)
    changed = str(write_tsv(tmp_path / "changed.tsv", TEXTS[:-1], TRAIN_LABELS[:-1]))
    with pytest.raises(ConfigurationError, match="training file .*changed.tsv has changed since"):
        at("interpreter", train_data=changed)
    with pytest.raises(ConfigurationError, match="input file .*changed.tsv has changed since"):
        at("queries", input_file=changed)
    other = folder / "model" / "weights.th"
    with pytest.raises(ConfigurationError, match="archive .*weights.th has changed since"):
        at("archive", archive_file=str(other))
    for name, option in (
        ("archive", "archive_file"),
        ("interpreter", "train_data"),
        ("queries", "input_file"),
    ):
        remedy = "--" + option.replace("_", "-")
        with pytest.raises(ConfigurationError, match=f"nowhere does not exist; .*{remedy}"):
            at(name, **{option: "nowhere"})


def test_a_provenance_that_does_not_say_how(run, tmp_path):
    explained, _ = run
    copy = shutil.copytree(explained(tmp_path.name).directory, tmp_path / "copy")
    (copy / "provenance.json").write_text('{"archive": {}}')
    with pytest.raises(ConfigurationError, match="'inputs' is missing"):
        Reopening(open_results(copy))
