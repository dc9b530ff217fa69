"""
From wordpieces to words: which tokens are markers that the model put there itself (`[CLS]`,
`</s>`), which pieces make up one word, and how that word reads in the original text.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import fsum
from typing import Dict, List, Optional, Sequence, Tuple

from allennlp.data.fields import TextField
from allennlp.data.token_indexers import TokenIndexer
from allennlp.data.tokenizers import Token
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Word:
    """
    A word of the text and the sum of its pieces' scores.

    # Parameters

    text : `str`
        The word as it stands in the original text where that is known, else its pieces joined.
    score : `float`
    field : `str`
        Which text of the input it belongs to: "sentence", "premise", "hypothesis", or the name of
        the text field where the reader keeps no names of its own.
    """

    text: str
    score: float
    field: str


@dataclass(frozen=True)
class Piece:
    """
    One token that the model saw.

    # Parameters

    text : `str`
        As the tokenizer writes it (`##tic`, `Ġfilm`).
    word : `int`, optional (default = `None`)
        The number of the word it belongs to; `None` for a special token, which is no word.
    segment : `int`
        0 for the first text of the field, 1 for the second one of a pair in one field.
    place : `Tuple[int, int]`, optional (default = `None`)
        Its first character in its text and the one after its last, where that is known.
    surface : `str`, optional (default = `None`)
        How the whole word reads, where the reader knows (readers that split into words first).
    """

    text: str
    word: Optional[int] = None
    segment: int = 0
    place: Optional[Tuple[int, int]] = None
    surface: Optional[str] = None


def pieces_of_field(
    field: TextField, indexer: TokenIndexer, indexed: Dict[str, List], texts: Sequence[str]
) -> List[Piece]:
    """
    The tokens that the model saw of one text field, in their order.

    # Parameters

    field : `TextField`
    indexer : `TokenIndexer`
        The indexer whose ids went into the word-embedding table.
    indexed : `Dict[str, List]`
        What that indexer made of the field (without padding).
    texts : `Sequence[str]`
        The original texts of the field, one or a pair; empty if unknown.
    """
    tokenizer = getattr(indexer, "_tokenizer", None)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return _pieces_of_words(field.tokens, indexer)
    if "offsets" in indexed:
        return _pieces_of_split_words(field.tokens, tokenizer, indexed)
    return _pieces_of_wordpieces(field.tokens, tokenizer, texts)


def words_of_pieces(
    pieces: Sequence[Piece],
    scores: Sequence[float],
    field: str,
    texts: Dict[str, str],
    indexer: TokenIndexer,
) -> List[Word]:
    """
    Sums the scores of the pieces of each word.

    # Parameters

    pieces, scores : aligned; the scores of special tokens belong to no word.
    field : `str`
        The name of the text field.
    texts : `Dict[str, str]`
        The original texts of the field by name, one or a pair; empty if unknown.
    indexer : `TokenIndexer`
        The indexer of the pieces, which knows how they are joined where the text is unknown.
    """
    names = list(texts)
    words = []
    for number, group in groupby(zip(pieces, scores), key=lambda pair: pair[0].word):
        if number is None:
            continue
        members = list(group)
        first = members[0][0]
        known = first.segment < len(names)
        name = names[first.segment] if known else field
        # A byte-level "Ġ" by itself takes no place in the text.
        places = [
            piece.place for piece, _ in members if piece.place and piece.place[0] < piece.place[1]
        ]
        if known and places:
            text = texts[name][places[0][0] : places[-1][1]]
        elif first.surface is not None:
            text = first.surface
        else:
            text = indexer._tokenizer.convert_tokens_to_string([piece.text for piece, _ in members])
        words.append(Word(text.strip(), fsum(score for _, score in members), name))
    return words


def _pieces_of_words(tokens: List[Token], indexer: TokenIndexer) -> List[Piece]:
    """A word-level indexer: every token is a word, but for the ones the indexer adds itself."""
    before = [Piece(str(token)) for token in getattr(indexer, "_start_tokens", [])]
    after = [Piece(str(token)) for token in getattr(indexer, "_end_tokens", [])]
    words = [
        Piece(str(token), word=number, surface=str(token)) for number, token in enumerate(tokens)
    ]
    return before + words + after


def _pieces_of_split_words(
    tokens: List[Token], tokenizer: PreTrainedTokenizerBase, indexed: Dict[str, List]
) -> List[Piece]:
    """`pretrained_transformer_mismatched`: tokens are words and `offsets` gives their pieces."""
    pieces = [Piece(text) for text in tokenizer.convert_ids_to_tokens(indexed["token_ids"])]
    for number, (token, (start, end)) in enumerate(zip(tokens, indexed["offsets"])):
        for position in range(max(start, 0), end + 1):
            text = pieces[position].text
            pieces[position] = Piece(text, word=number, surface=str(token))
    return pieces


def _pieces_of_wordpieces(
    tokens: List[Token], tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> List[Piece]:
    """Tokens are wordpieces, special ones included."""
    special_ids = _special_ids(tokenizer)
    starts = _starts_of_words(tokenizer)
    pieces: List[Piece] = []
    word, segment = -1, -1
    in_text, after_space = False, False
    for token, place in zip(tokens, _places(tokens, tokenizer, texts)):
        text = str(token)
        # The same characters inside a text ("[SEP]" typed by a user) have a place there.
        if token.text_id in special_ids and place is None:
            pieces.append(Piece(text))
            in_text = False
            continue
        if not in_text:
            segment += 1
        # Superfluous spaces are pieces too; they go to the word before them.
        is_space = bool(starts) and not text.strip(starts)
        begins = text[0] in starts if starts else not text.startswith("##")
        if not in_text or (not is_space and (begins or after_space)):
            word += 1
        after_space = in_text and is_space
        in_text = True
        pieces.append(Piece(text, word, segment, place))
    return pieces


def _places(
    tokens: List[Token], tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> List[Optional[Tuple[int, int]]]:
    """
    Where each token stands in its text; `None` if it is in none or that is unknown.
    """
    if texts and tokenizer.is_fast:
        encoded = tokenizer(
            *texts, truncation=True, max_length=len(tokens), return_offsets_mapping=True
        )
        # A reader may well have made its tokens in another way.
        if encoded["input_ids"] == [token.text_id for token in tokens]:
            return [
                None if text is None else tuple(place)
                for text, place in zip(encoded.sequence_ids(), encoded["offset_mapping"])
            ]
    return [
        None if token.idx is None or token.idx_end is None else (token.idx, token.idx_end)
        for token in tokens
    ]


@lru_cache(maxsize=None)
def _starts_of_words(tokenizer: PreTrainedTokenizerBase) -> str:
    """
    The characters by which a piece says that it begins a word; none where pieces say instead that
    they continue one (`##`).
    """
    # Byte-level BPE (RoBERTa) writes space, newline, tab and return so; SentencePiece (ALBERT,
    # XLM-R) has a sign for all of them.
    for starts in ("ĠĊĉč", "▁"):
        if tokenizer.tokenize("a a")[-1][0] in starts:
            return starts
    return ""


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set:
    # Not all_special_ids: [UNK] and [MASK] stand for words.
    return {
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    } - {None}
