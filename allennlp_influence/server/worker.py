"""Work that is done one piece after another, while many wait for it."""

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, Deque, List, Optional, Sequence

from allennlp_influence.engine.progress import Step, listening

# Does what several jobs ask for: from their arguments a result for each, or the exception that it ends with.
Work = Callable[[List[Any]], Sequence[Any]]


class Busy(Exception):
    """The queue is full; `seconds` is about how long until there is a place."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests are waiting; try again in {seconds} s")
        self.seconds = seconds


class Stopped(Exception):
    """Nobody waits for a job any more, or its worker is closed."""


class Job:
    """A piece of work for a worker, and how many wait for it."""

    def __init__(self, worker: "Worker", work: Work, argument: Any) -> None:
        self.worker, self.work, self.argument = worker, work, argument
        self.future: Future = Future()
        self.step: Optional[Step] = None
        self._waiting_for_it = 1
        self._lock = threading.Lock()

    def join(self) -> bool:
        """Wait for it too; false if it was given up already."""
        with self._lock:
            if self._waiting_for_it == 0:
                return False
            self._waiting_for_it += 1
            return True

    def leave(self) -> None:
        """Wait for it no longer; a job that nobody waits for is not begun, or stopped at its next step."""
        with self._lock:
            self._waiting_for_it -= 1
        if self.given_up:
            self.future.cancel()

    @property
    def given_up(self) -> bool:
        return self._waiting_for_it == 0


class Worker:
    """
    A thread with a bounded queue.

    # Parameters

    name : `str`
    most_waiting : `int`
        Jobs that wait, beside those that run; a further one is refused.
    most_together : `int`, optional (default = `1`)
        Jobs for the same work that follow each other in the queue are done together, up to so many.
    """

    def __init__(self, name: str, most_waiting: int, most_together: int = 1) -> None:
        self._most_waiting, self._most_together = most_waiting, most_together
        self._waiting: Deque[Job] = deque()
        self._running: List[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self.seconds: Optional[float] = None  # that the last job took, smoothed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work, argument: Any) -> Job:
        """
        # Raises

        `Busy` if the queue is full, `Stopped` if the worker is closed.
        """
        with self._changed:
            if self._closed:
                raise Stopped("the server is being stopped")
            self._waiting = deque(job for job in self._waiting if not job.given_up)
            if len(self._waiting) >= self._most_waiting:
                raise Busy(self._seconds_until_begun(len(self._waiting)))
            job = Job(self, work, argument)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def number_before(self, job: Job) -> Optional[int]:
        """How many jobs are to be done before it, counting those that run; `None` once it runs."""
        with self._changed:
            if job not in self._waiting:
                return None
            return self._waiting.index(job) + len(self._running)

    def stop(self) -> None:
        """Refuse what waits, and stop what runs at its next step."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def close(self, timeout: float = 10.0) -> None:
        """`stop`, and wait for that."""
        self.stop()
        self._thread.join(timeout)

    def _seconds_until_begun(self, number_before: int) -> int:
        each = (self.seconds or 1.0) / self._most_together
        return max(1, math.ceil(each * number_before))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    for job in self._waiting:
                        job.future.set_exception(Stopped("the server is being stopped"))
                    self._waiting.clear()
                    return
                self._running = self._next()
            begin = time.perf_counter()
            jobs = [job for job in self._running if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._do(jobs)
                took = time.perf_counter() - begin
                self.seconds = took if self.seconds is None else 0.7 * self.seconds + 0.3 * took
            with self._changed:
                self._running = []

    def _next(self) -> List[Job]:
        jobs = [self._waiting.popleft()]
        while (
            self._waiting
            and len(jobs) < self._most_together
            and self._waiting[0].work == jobs[0].work
        ):
            jobs.append(self._waiting.popleft())
        return jobs

    def _do(self, jobs: List[Job]) -> None:
        def report(step: Step) -> None:
            if self._closed or all(job.given_up for job in jobs):
                raise Stopped("the computation was stopped")
            for job in jobs:
                job.step = step

        try:
            with listening(report):
                results = jobs[0].work([job.argument for job in jobs])
        except Exception as error:
            results = [error] * len(jobs)
        for job, result in zip(jobs, results):
            if isinstance(result, BaseException):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

