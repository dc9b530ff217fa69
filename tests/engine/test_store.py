"""What is kept is what was computed, or it is computed again: never something else."""

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from allennlp_influence.engine.store import Store

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.float64)}


class Counted:
    """Makes TENSORS and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict:
        self.times += 1
        return dict(TENSORS)


def same(found: dict) -> bool:
    return found.keys() == TENSORS.keys() and all(
        torch.equal(found[key], TENSORS[key]) and found[key].dtype == TENSORS[key].dtype
        for key in TENSORS
    )


def test_once_in_memory_and_once_on_disk(tmp_path):
    compute = Counted()
    for store in (Store(), Store(tmp_path / "new"), Store(tmp_path / "new")):
        assert same(store.get("x", compute)) and same(store.get("x", compute))
    assert compute.times == 2  # once in memory, once for both on disk
    assert same(Store(tmp_path / "new").get("y", compute)) and compute.times == 3


@pytest.mark.parametrize("damage", [0, 7, 100, -1])
def test_a_damaged_file_is_made_again(damage, tmp_path, caplog):
    compute = Counted()
    Store(tmp_path).get("x", compute)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:damage])
    assert same(Store(tmp_path).get("x", compute)) and compute.times == 2
    assert "can't be read" in caplog.text and path.name in caplog.text
    assert same(Store(tmp_path).get("x", compute)) and compute.times == 2


def test_a_disk_that_cant_be_written_costs_the_reuse_only(tmp_path, caplog, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("allennlp_influence.engine.store.save_file", full)
    compute = Counted()
    assert same(Store(tmp_path).get("x", compute))
    assert "No space left" in caplog.text and list(tmp_path.iterdir()) == []

    (tmp_path / "file").write_text("")
    assert same(Store(tmp_path / "file" / "folder").get("x", compute))  # can't be a folder


def _work(folder, barrier, results) -> None:
    def compute() -> dict:
        barrier.wait()  # both find nothing and compute
        return dict(TENSORS)

    results.put((os.getpid(), same(Store(folder).get("x", compute))))


def test_two_processes_may_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_work, args=(tmp_path, barrier, results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    found = dict(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert list(found.values()) == [True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_what_is_on_disk_is_mapped_not_loaded(tmp_path):
    def anonymous_memory() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    if not Path("/proc/self/status").exists():
        pytest.skip("how much memory is not of files is read from /proc")
    size = 50_000_000
    before = anonymous_memory()
    tensors = Store(tmp_path).get("a", lambda: {"x": torch.ones(size // 4)})
    assert tensors["x"].sum() == size // 4  # all of it is read
    assert anonymous_memory() - before < size / 2
