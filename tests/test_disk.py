"""Files are written whole or not at all, and only ordinary files of our own are believed."""

import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import disk

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="links, pipes and modes are those of POSIX")


@pytest.fixture
def old(tmp_path):
    """A file with 10,000 bytes of old content, alone in its folder."""
    path = tmp_path / "picture.svg"
    path.write_bytes(b"old " * 2500)
    return path


def left_alone(path):
    assert path.read_bytes() == b"old " * 2500
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def full_disk():
    """No file may become larger than 4,096 bytes."""
    resource = pytest.importorskip("resource")
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- written whole


def test_the_draft_takes_the_place_of_the_file_when_all_is_written(old):
    with disk.whole_file(old) as draft:
        draft.write_text("new")
        assert old.read_bytes().startswith(b"old")
        assert draft.parent == old.parent
        assert draft.suffix == old.suffix  # other libraries choose a format by it
        assert draft.name.startswith(".")
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_a_full_disk_leaves_the_old_file_and_the_error_names_it(old, full_disk):
    with pytest.raises(OSError, match=r"picture\.svg") as caught, disk.whole_file(old) as draft:
        draft.write_bytes(b"new " * 2500)
    assert "writing" not in str(caught.value)
    left_alone(old)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no"), KeyboardInterrupt()])
def test_any_failure_leaves_the_old_file(old, error):
    def fails(draft):
        draft.write_text("half of the new")
        raise error

    with pytest.raises(type(error)), disk.whole_file(old) as draft:
        fails(draft)
    left_alone(old)


@posix
def test_permissions_stay_and_a_new_file_has_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        for name, mode in (("a", 0o604), ("b", 0o755), ("new", 0o640)):
            if name != "new":
                (tmp_path / name).write_text("old")
                (tmp_path / name).chmod(mode)
            with disk.whole_file(tmp_path / name) as draft:
                draft.write_text("new")
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    finally:
        os.umask(before)


@posix
def test_a_link_still_leads_to_the_file(old, tmp_path):
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(old.name)
    dangling.symlink_to("not yet")
    for path in (link, dangling):
        with disk.whole_file(path) as draft:
            draft.write_text("new")
        assert path.is_symlink()
    assert old.read_text() == (tmp_path / "not yet").read_text() == "new"


@posix
def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="links"), disk.whole_file(tmp_path / "a"):
        pytest.fail("there is nothing to write to")
    assert (tmp_path / "a").is_symlink()


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"), disk.whole_file(tmp_path / "a") as draft:
        draft.write_text("new")
    assert (tmp_path / "a").is_dir()


@posix
def test_a_device_is_written_to(tmp_path):
    with disk.whole_file("/dev/null") as draft:
        draft.write_text("gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
def test_what_killed_processes_left_is_removed_and_what_others_are_writing_is_not(tmp_path):
    code = """if True:
        import os, signal, sys
        from tinygrad_ce import disk
        with disk.whole_file(sys.argv[1]) as draft:
            draft.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"], check=False)
    assert process.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(disk.PREFIX)
    alive = left.with_name(f"{disk._names_of_drafts()}{os.getppid()}-0000.txt")
    elsewhere = left.with_name(left.name.replace(disk._names_of_drafts(), f"{disk.PREFIX}another_machine-"))
    mine = left.with_name(f"{disk.PREFIX}notes.txt")
    for path in (alive, elsewhere, mine):
        path.write_text("not to be removed")
    with disk.whole_file(tmp_path / "b.txt") as draft:
        draft.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere, mine, tmp_path / "b.txt"])


# ---- each file that the package writes


def graph():
    w = tg.Tensor(np.linspace(-1, 1, 40).reshape(8, 5), requires_grad=True, name="w")
    loss = (w * w).sum()
    loss.backward()
    return loss


def history(epochs=2):
    figures = tg.History()
    for epoch in range(1, epochs + 1):
        figures.append({"epoch": epoch, "loss": 1 / epoch})
    return figures


WRITERS = {
    "draw.svg": lambda path: tg.draw(graph()).save(path),
    "draw.html": lambda path: tg.draw(graph()).save(path),
    "step.html": lambda path: tg.step_through(graph()).save(path),
    "history.png": lambda path: history().plot(path),
    "history.pdf": lambda path: history().plot(path),
    "history.csv": lambda path: history(300).to_csv(path),
    "model.onnx": lambda path: tg.export.onnx(tg.nn.Dense(40, 40), path),
    "model.safetensors": lambda path: tg.save(path, tg.nn.Dense(40, 40)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_leaves_the_old_file_on_a_full_disk(tmp_path, name, full_disk):
    if library := {"png": "matplotlib", "pdf": "matplotlib", "onnx": "onnx"}.get(name.partition(".")[2]):
        pytest.importorskip(library)
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(OSError, match=name):
        WRITERS[name](path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_plot_without_an_ending_is_a_png_and_an_open_file_is_written_to(tmp_path):
    pytest.importorskip("matplotlib")
    history().plot(tmp_path / "history")
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]
    with (tmp_path / "open").open("wb") as file:
        history().plot(file)
    assert (tmp_path / "open").read_bytes()[:4] == b"\x89PNG"


# ---- read only if it is ours

STRANGE = {
    "a link": lambda path: (path.with_name("b").write_text("x"), path.symlink_to("b")),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "too long": lambda path: path.write_text("12345678901"),
    "open to the group": lambda path: (path.write_text("x"), path.chmod(0o660)),
    "open to all": lambda path: (path.write_text("x"), path.chmod(0o606)),
    "nothing": lambda path: None,
}


@posix
@pytest.mark.parametrize("which", STRANGE)
def test_what_is_no_ordinary_file_of_ours_is_not_read(tmp_path, which):
    STRANGE[which](tmp_path / "a")
    with pytest.raises(OSError, match="a"):
        disk.read_own_file(tmp_path / "a", 10)


@posix
def test_a_file_of_somebody_else_is_not_read(old, monkeypatch):
    owner = os.geteuid()
    assert disk.read_own_file(old) == b"old " * 2500
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(PermissionError, match="not an ordinary file of our own"):
        disk.read_own_file(old)
