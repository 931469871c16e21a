"""Runs every notebook from its first cell to its last, as a student would.

A notebook asserts its own answers; here it gets real servers with data in them,
and it is tried whether the assertions can fail.
"""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from stack import RECORDINGS, Stack

FOLDER = Path(__file__).parents[1]
NOTEBOOKS = sorted(FOLDER.glob("[0-9]-*.ipynb"))
SERVERS = ["CANDLESTACK_TEST_KAFKA", "CANDLESTACK_TEST_MYSQL", "CANDLESTACK_TEST_MONGODB"]


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    if missing := [name for name in SERVERS if not os.environ.get(name)]:
        pytest.skip(f"needs real servers: set {' and '.join(missing)}")
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.build()
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="session")
def recorded(stack):
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings in {RECORDINGS}")
    return stack.load_recorded()


@pytest.fixture(scope="session")
def history(stack):
    return stack.load_history()


@pytest.fixture(scope="session")
def monitored(stack):
    """Address of a Prometheus with the pipeline's metrics: PROMETHEUS_URL, or the demo's."""
    if url := os.environ.get("PROMETHEUS_URL"):
        return {"PROMETHEUS_URL": url}
    return {"PROMETHEUS_URL": stack.prometheus(stack.start_demo())}


def execute(path, environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    quiet = ["--log-level=ERROR"]  # that the kernel talks over loopback is no news
    NotebookClient(notebook, timeout=1200, extra_arguments=quiet, resources={"metadata": {"path": str(FOLDER)}}).execute()


def named(number):
    return next(path for path in NOTEBOOKS if path.name.startswith(f"{number}-"))


def test_there_are_six():
    assert [path.name[0] for path in NOTEBOOKS] == list("123456")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)
    assert any("assert " in cell.source for cell in code)


def test_gallery_has_every_picture():
    drawn = {name for path in NOTEBOOKS for name in re.findall(r'picture\(\\?"([^"\\]+)', path.read_text())}
    kept = {path.stem: path.stat().st_size for path in (FOLDER / "gallery").glob("*.png")}
    assert drawn == set(kept) == set(re.findall(r"gallery/([^.]+)[.]png", (FOLDER / "README.md").read_text()))
    assert max(kept.values()) < 150_000


@pytest.mark.parametrize("number", [2, 3])
def test_recorded_month(number, recorded, monkeypatch):
    monkeypatch.delenv("GALLERY", raising=False)
    execute(named(number), recorded, monkeypatch)


def test_one_wrong_digit_is_found(stack, recorded, monkeypatch):
    """A cent too much in one candle of 130,000 fails the notebooks that add up closes."""
    monkeypatch.delenv("GALLERY", raising=False)
    row = "WHERE instrument = 'ETH-USDT' AND open_time = '2025-03-17 12:34:00'"
    stack.sql(f"UPDATE candles SET close = close + 0.01 {row}", stack.prefix + "recorded")
    try:
        for number in [2, 3]:
            with pytest.raises(CellExecutionError, match="AssertionError"):
                execute(named(number), recorded, monkeypatch)
    finally:
        stack.sql(f"UPDATE candles SET close = close - 0.01 {row}", stack.prefix + "recorded")


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
def test_seeded_history(number, history, monkeypatch):
    execute(named(number), history, monkeypatch)


def test_own_metrics(monitored, monkeypatch):
    execute(named(5), monitored, monkeypatch)
