"""
From wordpieces to words: which tokens are markers that the model put there itself (`[CLS]`,
`</s>`), which pieces make up one word, and how that word reads in the original text.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import fsum
from typing import Dict, List, Optional, Sequence

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
    start, end : `int`, optional (default = `None`)
        Where it stands in its text, in characters.
    surface : `str`, optional (default = `None`)
        How the whole word reads, where the reader knows (readers that split into words first).
    """

    text: str
    word: Optional[int] = None
    segment: int = 0
    start: Optional[int] = None
    end: Optional[int] = None
    surface: Optional[str] = None


def pieces_of_field(
    field: TextField, indexer: TokenIndexer, indexed: Dict[str, List]
) -> List[Piece]:
    """
    The tokens that the model saw of one text field, in their order.

    # Parameters

    field : `TextField`
    indexer : `TokenIndexer`
        The indexer whose ids went into the word-embedding table.
    indexed : `Dict[str, List]`
        What that indexer made of the field (without padding).
    """
    tokenizer = getattr(indexer, "_tokenizer", None)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return _pieces_of_words(field.tokens, indexer)
    if "offsets" in indexed:
        return _pieces_of_split_words(field.tokens, tokenizer, indexed)
    return _pieces_of_wordpieces(field.tokens, tokenizer)


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
        The original texts by name, in the order they stand in the input; empty if unknown.
    indexer : `TokenIndexer`
        The indexer of the pieces, which knows how they are joined where the text is unknown.
    """
    names = [field] if field in texts or not texts else list(texts)
    segments = {piece.segment for piece in pieces if piece.word is not None}
    if len(segments) > len(names):
        names, texts = [field] * (max(segments) + 1), {}
    tokenizer = getattr(indexer, "_tokenizer", None)

    words = []
    scored = zip(pieces, scores)
    for number, group in groupby(scored, key=lambda pair: pair[0].word):
        if number is None:
            continue
        members = list(group)
        first = members[0][0]
        name = names[first.segment]
        # A byte-level "Ġ" by itself stands nowhere in the text.
        placed = [piece for piece, _ in members if piece.start is not None]
        if texts and placed:
            text = texts[name][placed[0].start : placed[-1].end]
        elif first.surface is not None:
            text = first.surface
        else:
            text = tokenizer.convert_tokens_to_string([piece.text for piece, _ in members])
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


def _pieces_of_wordpieces(tokens: List[Token], tokenizer: PreTrainedTokenizerBase) -> List[Piece]:
    """Tokens are wordpieces, special ones included."""
    special_ids = _special_ids(tokenizer)
    starts = _starts_of_words(tokenizer)
    pieces: List[Piece] = []
    word, segment = -1, -1
    in_text, after_space = False, False
    for token in tokens:
        text = str(token)
        # The same characters inside a text ("[SEP]" typed by a user) have a place there.
        if token.text_id in special_ids and token.idx is None:
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
        pieces.append(Piece(text, word, segment, token.idx, token.idx_end))
    return pieces


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
