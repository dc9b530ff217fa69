"""Answers that are kept, and questions that several ask at once."""

import threading
from collections import OrderedDict
from typing import Callable, Dict, Hashable, Optional, Union

from allennlp_influence.server.worker import Job


class Answers:
    """
    The last answers by their questions, within bounds, and the jobs that answer what is being asked now: who asks the
    same meanwhile waits for the same job.

    # Parameters

    most : `int`, optional (default = `1024`)
    most_bytes : `int`, optional (default = `64 MB`)
    """

    def __init__(self, most: int = 1024, most_bytes: int = 64 * 2**20) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: "OrderedDict[Hashable, bytes]" = OrderedDict()
        self._bytes = 0
        self._asked: Dict[Hashable, Job] = {}
        self._lock = threading.RLock()

    def get(self, question: Hashable, ask: Callable[[], Job]) -> Union[bytes, Job]:
        """The answer if it is kept, else a job with such a result, joined or begun by `ask`."""
        with self._lock:
            if question in self._kept:
                self._kept.move_to_end(question)
                return self._kept[question]
            job = self._asked.get(question)
            if job is None or not job.join():
                job = self._asked[question] = ask()
                job.future.add_done_callback(lambda _: self._keep(question, job))
            return job

    def _keep(self, question: Hashable, job: Job) -> None:
        with self._lock:
            if self._asked.get(question) is job:
                del self._asked[question]
            answer = _result(job)
            if answer is None or question in self._kept:
                return
            self._kept[question] = answer
            self._bytes += len(answer)
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest)


def _result(job: Job) -> Optional[bytes]:
    if job.future.cancelled() or job.future.exception() is not None:
        return None
    return job.future.result()
