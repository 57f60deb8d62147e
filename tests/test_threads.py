"""Threads: the numbers do not depend on how many there are, and nothing breaks where processes fork, fail or end."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count, product

import numpy as np
import pytest
from fresh import GUARD, printed

import tinygrad_ce as tg
from tinygrad_ce import kernels, threads
from tinygrad_ce.kernels import binary_cross_entropy, cross_entropy, rows


@pytest.fixture(autouse=True)
def as_at_the_start(monkeypatch):
    """No number of threads chosen, and no threads there; the same again at the end."""
    monkeypatch.setattr(threads, "_threads", None)
    threads._stop()
    yield
    threads._stop()


@pytest.fixture
def split(monkeypatch):
    """Small arrays are worth several threads too. The list tells into how many parts each loop was cut."""
    monkeypatch.setattr(threads, "WORTH", 1e-15)
    monkeypatch.setattr(rows, "PARALLEL_THRESHOLD", 0)
    parts = []

    def noting(work, *arguments, **options):
        seen = []

        def noted(start, stop):
            seen.append((start, stop))
            work(start, stop)

        threads.in_parts(noted, *arguments, **options)
        parts.append(len(seen))

    monkeypatch.setattr(rows, "in_parts", noting)
    return parts


# ---- the same numbers

ROWS, CLASSES, MANY = 1669, 5, rows.MAX_PANEL_CLASSES + 19  # with few classes, 128 rows belong together
NUMBERS = 9973  # of which 1024 belong together


def logits(rows, classes, dtype):
    z = np.random.default_rng(1).normal(scale=4, size=(rows, classes)).astype(dtype)
    z[1, 0], z[rows // 2] = -np.inf, 7
    return z


def xent(classes, rows):
    def compute(dtype):
        z = logits(rows, classes, dtype)
        y = np.arange(rows) % classes
        y[3::7] = -1
        ignoring = {"ignore_index": -1}
        each = np.linspace(-1, 2, rows).astype(dtype)
        for reduction in ("mean", "sum"):
            yield from cross_entropy.xent_with_gradient(z, y, 1.0, reduction=reduction, **ignoring)
        yield cross_entropy.xent(z, y, 1.0, **ignoring)
        yield cross_entropy.xent_grad(each, z, y, 1.0, **ignoring)

    return compute


def weighted_xent(dtype):
    z, y = logits(23, MANY, dtype), np.arange(23) % MANY
    w = np.linspace(0, 2, MANY).astype(dtype)
    yield from cross_entropy.xent_with_gradient(z, y, w, smoothing=0.1, reduction="mean")
    yield cross_entropy.xent(z, y, w, smoothing=0.1)


def soft_xent(dtype):
    z = logits(ROWS, CLASSES, dtype)
    q = np.random.default_rng(2).dirichlet(np.ones(CLASSES), ROWS).astype(dtype)
    yield from cross_entropy.soft_xent_with_gradient(z, q, 1.0, reduction="mean")
    yield cross_entropy.soft_xent(z, q, 1.0, smoothing=0.1)
    yield cross_entropy.soft_xent_grad(np.linspace(-1, 2, ROWS).astype(dtype), z, q, 1.0)


def sigmoid_xent(dtype):
    z = np.random.default_rng(3).normal(scale=9, size=(NUMBERS // 3, 3)).astype(dtype)
    y = (np.arange(z.size) % 3 == 0).astype(dtype).reshape(z.shape)
    weight = np.random.default_rng(4).random(z.shape).astype(dtype)
    for w, each in ((1.0, 1.0), (np.array([1, 2, 3], dtype), 1.0), (2.0, weight)):
        yield from binary_cross_entropy.sigmoid_xent_with_gradient(z, y, w, each, reduction="mean")
    yield binary_cross_entropy.sigmoid_xent(z, y, 1.0, 1.0)
    yield binary_cross_entropy.sigmoid_xent_grad(weight, z, y, 1.0, 1.0)


def along_rows(name, rows, classes):
    return lambda dtype: [kernels.find(name)(logits(rows, classes, dtype), axis=-1)]


def one_by_one(name):
    return lambda dtype: [kernels.find(name)(np.linspace(-30, 30, NUMBERS).astype(dtype))]


def optimizer(name, states, *settings):
    def compute(dtype):
        for shape in ((NUMBERS,), (97, 103)):
            generator = np.random.default_rng(5)
            arrays = [np.abs(generator.normal(size=shape)).astype(dtype) for _ in range(2 + states)]
            kernels.find(name)(*arrays, *settings)
            kernels.find(name)(*arrays, *settings)
            yield from arrays

    return compute


KERNELS = {
    "xent of few classes": xent(CLASSES, ROWS),
    "xent of many classes": xent(MANY, 23),
    "weighted and smoothed xent": weighted_xent,
    "soft_xent": soft_xent,
    "sigmoid_xent": sigmoid_xent,
    "softmax of few classes": along_rows("softmax", ROWS, CLASSES),
    "softmax of many classes": along_rows("softmax", 23, MANY),
    "log_softmax": along_rows("log_softmax", 101, 7),
    "logsumexp": along_rows("logsumexp", 101, 7),
    **{name: one_by_one(name) for name in ("sigmoid", "tanh", "softplus")},
    "sgd": optimizer("sgd", 0, 0.1, 0.01),
    "sgd_momentum": optimizer("sgd_momentum", 1, 0.1, 0.9, True, 0.01),
    "adam": optimizer("adam", 2, 0.1, 0.9, 0.999, 0.3, 1e-8, 0.01, 0.001),
    "rmsprop": optimizer("rmsprop", 1, 0.1, 0.99, 1e-8, 0.01),
}


def bits(name, dtype):
    return [np.asarray(array).tobytes() for array in KERNELS[name](dtype)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KERNELS)
def test_the_numbers_are_the_same_however_many_threads_there_are(name, dtype, split):
    tg.set_num_threads(1)
    expected = bits(name, dtype)
    assert set(split) == {1}
    for n in (2, 3, 5):
        split.clear()
        tg.set_num_threads(n)
        assert bits(name, dtype) == expected
        assert split
        assert set(split) == {n}


def test_several_threads_may_call_kernels_that_use_several(split):
    tg.set_num_threads(3)
    names = [*KERNELS] * 3
    expected = {name: bits(name, np.float32) for name in KERNELS}
    with ThreadPoolExecutor(4) as pool:
        for name, found in zip(names, pool.map(lambda name: bits(name, np.float32), names), strict=True):
            assert found == expected[name]


def test_the_number_of_threads_may_be_set_while_others_compute(split):
    names = ["sigmoid", "adam", "soft_xent", "xent of few classes"]
    expected = {name: bits(name, np.float32) for name in names}
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(lambda name: (name, bits(name, np.float32)), name) for name in names * 6]
        for n in count():
            tg.set_num_threads(n % 4 + 1)
            if all(each.done() for each in running):
                break
    for each in running:
        name, found = each.result()
        assert found == expected[name]


# ---- how many


@pytest.mark.parametrize(("given", "meant"), [(1, 1), (7, 7), (np.int64(3), 3)])
def test_the_number_of_threads_is_the_one_that_was_set(given, meant, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    tg.set_num_threads(given)
    assert tg.get_num_threads() == meant
    assert type(tg.get_num_threads()) is int


@pytest.mark.parametrize(
    ("given", "error"),
    [(0, ValueError), (-1, ValueError)] + [(bad, TypeError) for bad in (1.0, 1.5, "2", None, True, [2])],
)
def test_a_number_of_threads_that_is_none_is_refused_and_changes_nothing(given, error):
    tg.set_num_threads(2)
    with pytest.raises(error, match=r"set_num_threads\("):
        tg.set_num_threads(given)
    assert tg.get_num_threads() == 2


@pytest.mark.parametrize(
    ("said", "meant"),
    [("3", 3), ("4,2", 4), (" 5 ", 5), ("6 , 1", 6)]
    + [(nothing, None) for nothing in ("", "0", "abc", "-1", "1.5", ",2", "²", None)],
)
def test_without_it_the_environment_says_how_many_or_the_machine(said, meant, monkeypatch):
    if said is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5, 8, 9, 11, 12}, raising=False)
    assert tg.get_num_threads() == (meant or 7)


@pytest.mark.parametrize(("processors", "meant"), [(4, 4), (None, 1)])
def test_a_system_that_does_not_tell_our_processors_tells_all_of_them(processors, meant, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert tg.get_num_threads() == meant


def test_a_short_loop_is_not_cut():
    tg.set_num_threads(4)
    parts = []
    threads.in_parts(lambda *part: parts.append((part, threading.get_ident())), 10**6, threads.WORTH * 0.99)
    assert parts == [((0, 10**6), threading.get_ident())]
    assert threads._pool is None


def test_no_more_threads_than_the_work_is_worth():
    tg.set_num_threads(8)
    parts = []
    threads.in_parts(lambda *part: parts.append(part), 10**6, threads.WORTH * 1.5)
    assert len(parts) == 3


def test_a_loop_over_nothing_is_not_called():
    threads.in_parts(lambda *_: pytest.fail("was called"), 0, 1.0)


def test_each_row_is_in_one_part_and_parts_begin_at_multiples_of_the_step():
    for n, length, step in product((2, 3, 5), (1, 2, 3, 7, 127, 128, 129, 640, 641, 5000), (1, 128, 1024)):
        tg.set_num_threads(n)
        parts = []
        threads.in_parts(lambda *part, parts=parts: parts.append(part), length, 1.0, step)
        assert [row for part in sorted(parts) for row in range(*part)] == list(range(length))
        assert all(start % step == 0 and start < stop for start, stop in parts)
        assert len(parts) <= n


def test_the_parts_run_in_so_many_threads_at_the_same_time():
    tg.set_num_threads(4)
    all_here = threading.Barrier(4)
    idents = set()

    def work(start, stop):
        all_here.wait(GUARD)
        idents.add(threading.get_ident())

    for _ in range(3):
        threads.in_parts(work, 4, 1.0, step=1)
    assert len(idents) == 4
    assert threading.get_ident() in idents


# ---- what goes wrong


def compute():
    """Takes longer than raising an exception, and lets other threads do so."""
    for _ in range(500_000):
        pass


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_of_any_part_is_raised_when_all_parts_have_ended(bad, kind):
    tg.set_num_threads(3)
    all_here, raised = threading.Barrier(3), threading.Event()
    ended = []

    def work(start, stop):
        all_here.wait(GUARD)
        if start == bad:
            raised.set()
            raise kind(f"part {start}")
        raised.wait(GUARD)
        compute()
        ended.append(start)

    with pytest.raises(kind, match=f"part {bad}"):
        threads.in_parts(work, 3, 1.0, step=1)
    assert len(ended) == 2
    done = []
    threads.in_parts(lambda *part: done.append(part), 3, 1.0, step=1)
    assert sorted(done) == [(0, 1), (1, 2), (2, 3)]


@pytest.fixture
def only(monkeypatch):
    """Let the system give so many more threads and then none; the event tells that one was refused."""

    def limit(available):
        real, started, refused = threading.Thread.start, count(1), threading.Event()

        def start(thread):
            if next(started) > available:
                refused.set()
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        return refused

    return limit


@pytest.mark.parametrize("available", [0, 1, 2])
def test_where_the_system_gives_no_more_threads_those_that_are_there_do_all(available, only):
    tg.set_num_threads(5)
    only(available)
    for _ in range(3):
        parts = []
        threads.in_parts(lambda *part, parts=parts: parts.append(part), 5, 1.0, step=1)
        assert sorted(parts) == [(i, i + 1) for i in range(5)]


def test_there_too_an_exception_is_raised_when_all_parts_have_ended(only):
    tg.set_num_threads(5)
    refused = only(1)
    here, failed, begun, ended = threading.get_ident(), [], [], []
    another, returned = threading.Event(), threading.Event()

    def work(start, stop):
        if threading.get_ident() != here and not failed:
            refused.wait(GUARD)
            failed.append(start)
            raise ValueError("part")
        begun.append(start)
        if threading.get_ident() == here:
            another.wait(2)  # for a part that the other thread begins after its exception, if it begins one
        elif not another.is_set():
            another.set()
            returned.wait(0.5)  # in vain, because nothing returns before this part has ended
        ended.append(start)

    with pytest.raises(ValueError, match="part"):
        threads.in_parts(work, 5, 1.0, step=1)
    assert len(begun) == len(ended)
    returned.set()


# ---- the life of a process

SETUP = f"""
    import atexit, os, signal, sys, threading
    import numpy as np
    import tinygrad_ce as tg
    from tinygrad_ce import threads
    from tinygrad_ce.kernels import elementwise, rows
    GUARD = {GUARD}
    threads.WORTH, rows.PARALLEL_THRESHOLD = 1e-15, 0
    x = np.linspace(-30, 30, 9973)
    tg.set_num_threads(1)
    expected = elementwise.sigmoid(x).tobytes()
    tg.set_num_threads(3)

    def same():
        return elementwise.sigmoid(x).tobytes() == expected

    assert threads._pool is None and same() and threads._pool is not None
"""
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@forks
def test_a_fork_after_the_threads_were_used_works_on_both_sides_without_a_warning():
    """The child ends itself with a signal if it hangs. multiprocessing forks too."""
    assert (
        printed(
            SETUP
            + """
    import multiprocessing, warnings
    warnings.simplefilter("error")

    def child():
        signal.alarm(GUARD)
        assert same() and same()

    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                child()
                assert threads._pool is not None  # and this child ends with threads of its own
                sys.stdout.flush()
                os._exit(0)
            finally:
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), same(), flush=True)  # or a child says it again

    context = multiprocessing.get_context("fork")
    for _ in range(2):
        process = context.Process(target=child)
        process.start()
        process.join()
        print(process.exitcode, same(), flush=True)
    """
        )
        == ["0", "True"] * 5
    )


@forks
def test_a_fork_while_other_threads_compute_works_on_both_sides():
    assert printed(
        SETUP
        + """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of the threads that we start here
    stop, begun, wrong = threading.Event(), threading.Event(), []

    def compute():
        while not stop.is_set():
            if not same():
                wrong.append(1)
            begun.set()

    others = [threading.Thread(target=compute) for _ in range(2)]
    for other in others:
        other.start()
    begun.wait()
    codes = []
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            signal.alarm(GUARD)
            os._exit(0 if same() else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    stop.set()
    for other in others:
        other.join()
    print(sum(map(abs, codes)), len(wrong), same())
    """
    ) == ["0", "0", "True"]


def test_what_computes_while_the_interpreter_ends_computes_the_same():
    """A thread goes on after the main one has ended, and so does what atexit calls: then no new thread begins."""
    assert printed(
        SETUP
        + """
    def late():
        threading.main_thread().join()
        print("thread", same())

    atexit.register(lambda: print("atexit", same()))
    threading.Thread(target=late).start()
    """
    ) == ["thread", "True", "atexit", "True"]


def test_a_process_ends_with_its_threads_and_the_environment_says_how_many():
    assert printed(
        """
    import threading
    import tinygrad_ce as tg
    from tinygrad_ce import threads

    all_here = threading.Barrier(3)
    threads.in_parts(lambda *_: all_here.wait(), 3, 1.0, step=1)
    print(tg.get_num_threads(), sum(thread.name.startswith("tinygrad_ce") for thread in threading.enumerate()))
    """,
        OMP_NUM_THREADS="3,2",
    ) == ["3", "2"]
