"""Texts that are kept between runs: read if the same sources have made them, else made again."""

import json

import pytest

from tinygrad_ce import cache, ops
from tinygrad_ce.program import kept_texts
from tinygrad_ce.program.kept_texts import clear, kept

ANSWER = {"a": ["w1", 2, 0.1], "b": {"text": "<ü>"}}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A private directory of our own."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr(cache, "_found", tmp_path)
    monkeypatch.setattr(kept_texts, "IMPORTED", float("inf"))  # whatever is edited while the tests run
    return tmp_path


@pytest.fixture
def make():
    """A function that counts its calls."""

    def answer():
        answer.calls += 1
        return ANSWER

    answer.calls = 0
    return answer


def test_what_was_made_is_read_again(folder, make):
    assert [kept("x", make) for _ in range(3)] == [ANSWER] * 3
    assert make.calls == 1
    kept("y", make)
    assert make.calls == 2
    clear()
    assert not (folder / "texts").exists()
    assert kept("x", make) == ANSWER
    assert make.calls == 3


def test_other_sources_make_it_again(folder, make, monkeypatch):
    kept("x", make)
    monkeypatch.setattr(kept_texts, "digest", lambda: "other")
    kept("x", make)
    assert make.calls == 2


def test_the_digest_is_that_of_all_sources(monkeypatch, tmp_path):
    monkeypatch.setattr(kept_texts, "ROOT", tmp_path)
    digests = set()
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.js", "2"), ("c.md", "2")):
        (tmp_path / name).write_text(text)
        digests.add(kept_texts.digest.__wrapped__())
    assert len(digests) == 3  # c.md is no source


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"text": 1}', json.dumps({"sum": "0", "text": json.dumps({"a": "evil"})})]
)
def test_a_damaged_file_is_made_again(folder, make, content):
    kept("x", make)
    (path,) = (folder / "texts").iterdir()
    path.write_text(content)
    assert kept("x", make) == ANSWER
    assert make.calls == 2
    assert json.loads(json.loads(path.read_text())["text"]) == ANSWER


def test_a_file_in_the_way_and_no_directory_are_no_obstacle(folder, make, monkeypatch):
    (folder / "texts").write_text("")
    assert kept("x", make) == ANSWER
    monkeypatch.setattr(cache, "_found", None)
    assert kept("x", make) == ANSWER
    assert make.calls == 2


def test_a_learners_own_rule_is_not_kept_for_others(folder, make, registry, monkeypatch):
    kept("x", make)
    monkeypatch.setattr(ops.tanh, "rules", [*ops.tanh.rules])

    @ops.tanh.vjp("x")
    def wrong(g, out, x):
        return g

    kept("x", make)
    assert make.calls == 2
    assert len([*(folder / "texts").iterdir()]) == 1


def test_sources_that_were_edited_since_are_not_those_that_run(folder, make, monkeypatch):
    monkeypatch.setattr(kept_texts, "IMPORTED", 0.0)
    kept("x", make)
    kept("x", make)
    assert make.calls == 2
    assert not (folder / "texts").exists()


def test_the_oldest_files_are_removed(folder, make, monkeypatch):
    monkeypatch.setattr(kept_texts, "MOST_FILES", 2)
    for name in "abc":
        kept(name, make)
    assert len([*(folder / "texts").iterdir()]) == 2
