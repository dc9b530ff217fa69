import threading
import time
from concurrent.futures import wait

import pytest

from allennlp_influence.engine.progress import Step, progress
from allennlp_influence.server.answers import Answers
from allennlp_influence.server.worker import Busy, Stopped, Worker

PATIENCE = 30  # seconds until a test that hangs fails


@pytest.fixture
def gate():
    """A worker's first job waits for it to be opened."""
    gate = threading.Event()
    yield gate
    gate.set()


def blocked(worker: Worker, gate: threading.Event):
    """A job that runs until the gate is open."""
    begun = threading.Event()

    def work(arguments):
        begun.set()
        gate.wait(PATIENCE)
        return arguments

    job = worker.submit(work, "blocking")
    assert begun.wait(PATIENCE)
    return job


def test_jobs_are_done_one_after_another_in_their_order(gate):
    worker, done = Worker("w", most_waiting=10), []

    def work(arguments):
        done.extend(arguments)
        return [-argument for argument in arguments]

    first = blocked(worker, gate)
    jobs = [worker.submit(work, i) for i in range(5)]
    assert [worker.number_before(job) for job in jobs] == [1, 2, 3, 4, 5]
    assert worker.number_before(first) is None
    gate.set()
    assert [job.future.result(PATIENCE) for job in jobs] == [0, -1, -2, -3, -4]
    assert done == [0, 1, 2, 3, 4]


def test_waiting_jobs_for_the_same_work_are_done_together(gate):
    worker, batches = Worker("w", most_waiting=10, most_together=3), []

    def work(arguments):
        batches.append(list(arguments))
        return [ValueError("odd") if argument % 2 else argument for argument in arguments]

    def other(arguments):
        return arguments

    blocked(worker, gate)
    jobs = [worker.submit(other if i == 4 else work, i) for i in range(6)]
    gate.set()
    wait([job.future for job in jobs], PATIENCE)
    assert batches == [[0, 1, 2], [3], [5]]
    assert jobs[0].future.result() == 0
    with pytest.raises(ValueError, match="odd"):  # the error is that job's alone
        jobs[1].future.result()


def test_an_error_of_all_ends_them_all_and_not_the_worker():
    worker = Worker("w", most_waiting=10)

    def work(arguments):
        raise KeyError("no")

    with pytest.raises(KeyError):
        worker.submit(work, 1).future.result(PATIENCE)
    assert worker.submit(lambda arguments: arguments, 3).future.result(PATIENCE) == 3


def test_a_full_queue_says_when_to_come_again(gate):
    worker = Worker("w", most_waiting=2)
    worker.seconds = 2.5
    blocked(worker, gate)
    first = worker.submit(list, 1)
    worker.submit(list, 2)
    with pytest.raises(Busy) as busy:
        worker.submit(list, 3)
    assert busy.value.seconds == 5
    first.leave()  # makes room
    worker.submit(list, 3)
    with pytest.raises(Busy):
        worker.submit(list, 4)


def test_a_job_that_nobody_waits_for_is_not_begun_or_stopped(gate):
    worker, begun, steps = Worker("w", most_waiting=10), [], []
    first_step = threading.Event()

    def work(arguments):
        begun.extend(arguments)
        for step in progress(range(10**6), "steps"):
            steps.append(step)
            first_step.set()
            time.sleep(0.001)
        return arguments

    running = worker.submit(work, "running")
    assert running.join()  # two wait for it
    waiting = worker.submit(work, "waiting")
    waiting.leave()
    assert first_step.wait(PATIENCE)
    running.leave()
    count = len(steps)
    while len(steps) < count + 5:  # one still waits: it goes on
        time.sleep(0.01)
    assert running.step == Step("steps", running.step.done, 10**6)
    running.leave()
    with pytest.raises(Stopped):
        running.future.result(PATIENCE)
    assert not running.join()
    worker.submit(lambda arguments: arguments, "last").future.result(PATIENCE)
    assert begun == ["running"]


def test_closing_refuses_what_waits_and_stops_what_runs():
    worker, first_step = Worker("w", most_waiting=10), threading.Event()

    def work(arguments):
        for _ in progress(range(10**6), "steps"):
            first_step.set()
            time.sleep(0.001)

    jobs = [worker.submit(work, i) for i in range(3)]
    assert first_step.wait(PATIENCE)
    worker.close()
    for job in jobs:
        assert isinstance(job.future.exception(PATIENCE), Stopped)
    with pytest.raises(Stopped):
        worker.submit(work, 4)


def test_answers_are_kept_within_bounds_the_oldest_go_first():
    worker, asked = Worker("w", most_waiting=10), []

    def ask(question):
        asked.append(question)
        return worker.submit(lambda arguments: [b"x" * 40], question)

    answers = Answers(most=3, most_bytes=100)

    def get(question):
        found = answers.get(question, lambda: ask(question))
        return found if isinstance(found, bytes) else found.future.result(PATIENCE)

    assert [get(q) for q in "aabab"] == [b"x" * 40] * 5
    assert asked == ["a", "b"]
    get("c")  # 120 bytes: the one asked least lately goes
    get("b")
    assert asked == ["a", "b", "c"]
    get("a")
    assert asked == ["a", "b", "c", "a"]


def test_who_asks_the_same_at_once_waits_for_one_job_and_errors_are_not_kept(gate):
    worker, answers, count = Worker("w", most_waiting=10), Answers(), []

    def work(arguments):
        count.append(len(arguments))
        return [ValueError("no")]

    blocked(worker, gate)
    jobs = [answers.get("q", lambda: worker.submit(work, "q")) for _ in range(3)]
    assert jobs[0] is jobs[1] is jobs[2]
    jobs[0].leave()
    jobs[1].leave()
    gate.set()
    with pytest.raises(ValueError):
        jobs[2].future.result(PATIENCE)
    assert count == [1]
    again = answers.get("q", lambda: worker.submit(lambda arguments: [b"yes"], "q"))
    assert again.future.result(PATIENCE) == b"yes"
    assert answers.get("q", lambda: pytest.fail("it is kept")) == b"yes"


def test_a_job_that_was_given_up_is_asked_again(gate):
    worker, answers = Worker("w", most_waiting=10), Answers()
    blocked(worker, gate)
    given_up = answers.get("q", lambda: worker.submit(list, "q"))
    given_up.leave()
    again = answers.get("q", lambda: worker.submit(lambda arguments: [b"yes"], "q"))
    assert again is not given_up
    gate.set()
    assert again.future.result(PATIENCE) == b"yes"
