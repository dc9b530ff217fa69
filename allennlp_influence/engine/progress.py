"""How far a long loop is: a bar in the terminal, unless somebody listens."""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Iterable, Iterator, NamedTuple, Optional, TypeVar

from allennlp.common import Tqdm

T = TypeVar("T")


class Step(NamedTuple):
    """`done` of `total` repetitions of the loop that does `stage`."""

    stage: str
    done: int
    total: Optional[int]


Listener = Callable[[Step], None]

# a thread's own
_listener: ContextVar[Optional[Listener]] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Steps of this thread's loops go to `listener` in here, which may stop them by raising."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def progress(items: Iterable[T], stage: str) -> Iterable[T]:
    """The items, saying how many of them are done."""
    listener = _listener.get()
    if listener is None:
        return Tqdm.tqdm(items, desc=stage, leave=False)
    return _reported(items, stage, listener)


def _reported(items: Iterable[T], stage: str, listener: Listener) -> Iterator[T]:
    total = len(items) if hasattr(items, "__len__") else None
    for done, item in enumerate(items):
        listener(Step(stage, done, total))
        yield item
