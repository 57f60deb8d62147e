"""tinygrad-ce warmup: afterwards training compiles nothing, and the command says what it did and where it is kept."""

import json

import pytest
from fresh import printed, ran

pytest.importorskip("numba")
COMPILED = {"NUMBA_DISABLE_JIT": 0, "NUMBA_CACHE_DIR": None}

USED = """
    import json
    from tinygrad_ce.kernels import warmup

    def used():
        return json.dumps(sorted(f"{name}{s}" for name, loop in warmup.loops().items() for s in loop.signatures))
"""


def test_after_it_training_compiles_nothing():
    """Of what compiled code there is: other tests have left some, so what a process has used is compared."""
    ahead = ran(
        USED
        + """
    for name, call in warmup.kernels_to_compile():
        call()
    print(used())
    """,
        **COMPILED,
    )
    training = ran(
        USED
        + """
    import numpy as np
    import tinygrad_ce as tg
    from tinygrad_ce import nn, optim

    X, y = tg.data.moons(60).X, tg.data.moons(60).y
    column, one_hot = y[:, None], np.eye(2)[y]
    LOSSES = [
        (nn.SoftmaxCrossEntropy(), y, 2, []),
        (nn.SoftmaxCrossEntropy(), y, 60, []),
        (nn.SoftmaxCrossEntropy(weight=[1.0, 2.0]), y, 2, []),
        (nn.SoftmaxCrossEntropy(weight=np.arange(60.0), label_smoothing=0.1), y, 60, []),
        (nn.SoftmaxCrossEntropy(label_smoothing=0.1, reduction="sum"), y, 2, []),
        (nn.SoftmaxCrossEntropy(ignore_index=1), y, 2, []),
        (nn.SoftmaxCrossEntropy(), one_hot, 2, []),
        (nn.SoftmaxCrossEntropy(weight=[1.0, 2.0]), one_hot, 2, []),
        (nn.CrossEntropy(), y, 2, [nn.Softmax()]),
        (nn.SigmoidBCE(), column, 1, []),
        (nn.SigmoidBCE(pos_weight=2.0, weight=[0.5]), column, 1, []),
        (nn.SigmoidBCE(pos_weight=[1.0, 2.0]), one_hot, 2, []),
        (nn.BCE(), column, 1, [nn.Sigmoid()]),
        (nn.MSE(), one_hot, 2, []),
    ]
    OPTIMIZERS = [
        optim.SGD,
        lambda p: optim.SGD(p, momentum=0.9),
        lambda p: optim.SGD(p, momentum=0.9, nesterov=True, weight_decay=0.1),
        optim.Adam,
        optim.AdamW,
        optim.AdaGrad, optim.RMSprop,
    ]
    for dtype in ("float32", "float64"):
        for number, (loss, targets, width, end) in enumerate(LOSSES):
            for make in OPTIMIZERS if number == 0 else [OPTIMIZERS[number % len(OPTIMIZERS)]]:
                model = nn.Sequential(nn.Dense(2, 4), nn.BatchNorm(4), nn.Tanh(), nn.Dense(4, width), *end)
                model.astype(dtype)
                trainer = tg.Trainer(model, loss, make(model.parameters()))
                trainer.fit(X, targets, epochs=1, batch_size=32, validation=(X, targets), seed=0)
                trainer.predict(X) if isinstance(loss, nn.MSE) else trainer.predict_proba(X)
        x = np.zeros((100, 60), dtype)  # large enough for the kernels of the functions
        for layer in (nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.Softmax()):
            layer(tg.Tensor(x, requires_grad=True)).sum().backward()
        for function in (tg.ops.log_softmax, tg.ops.logsumexp):
            function(tg.Tensor(x, requires_grad=True), axis=-1).sum().backward()
    print(used())
    """,
        **COMPILED,
    )
    assert (ahead.returncode, training.returncode) == (0, 0), ahead.stderr + training.stderr
    needed, made = (set(json.loads(process.stdout)) for process in (training, ahead))
    assert needed
    assert needed - made == set()


COMMAND = """
    import sys
    from tinygrad_ce import cli
    from tinygrad_ce.cli import terminal
    from tinygrad_ce.kernels import warmup
    whole = warmup.kernels_to_compile
    few = ("sgd,", "sigmoid (")
    warmup.kernels_to_compile = lambda: [call for call in whole() if call[0].startswith(few)]
    sys.argv = ["tinygrad-ce", "warmup"]
"""
RUN = COMMAND + "    cli.main()\n"


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")}


def test_it_says_what_it_compiled_and_where_and_the_next_time_that_all_was_there(tmp_path):
    folder = tmp_path / "kept"
    here = {**COMPILED, "TINYGRAD_CE_CACHE": folder, "NUMBA_BOUNDSCHECK": 0}
    first = " ".join(printed(RUN, **here))
    assert first.startswith("compiled 6 kernels (")
    assert first.endswith(f" s); they are kept in {folder}")
    made = files(folder)
    assert len(made) == 6

    shown = ran(
        COMMAND + "    terminal.console = type(terminal.console)(force_terminal=True, width=200)\n    cli.main()\n",
        **here,
    )
    for words in ("compiling", "sgd, 1-D parameters (float32)", "5/6", "all 6 kernels were there ("):
        assert words in shown.stdout
    assert files(folder) == made

    next(iter(made)).unlink()
    assert " ".join(printed(RUN, **here)).startswith("compiled 1 of 6 kernels; the others were there (")


def test_it_names_the_directory_that_was_given_to_numba(tmp_path):
    said = " ".join(printed(RUN, **COMPILED | {"NUMBA_CACHE_DIR": tmp_path / "a", "TINYGRAD_CE_CACHE": tmp_path / "b"}))
    assert said.endswith(f" {tmp_path / 'a'}")
    assert files(tmp_path / "a")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("before", "environment", "words"),
    [
        ("import sys; sys.modules['numba'] = None", {}, "Numba is not installed: there is nothing to compile"),
        ("", {"NUMBA_DISABLE_JIT": 1}, "NUMBA_DISABLE_JIT is set: there is nothing to compile"),
    ],
    ids=["no Numba", "Numba switched off"],
)
def test_where_nothing_is_compiled_it_says_so(before, environment, words):
    assert " ".join(printed(before + "\n" + "\n".join(line[4:] for line in RUN.split("\n")), **environment)) == words


def test_where_nothing_can_be_kept_it_says_so_and_compiles_nothing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    process = ran(RUN.replace("few)]", "few)] or sys.exit('asked')"), **COMPILED | {"TINYGRAD_CE_CACHE": blocked})
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.count("warning: ") == 1
    assert process.stderr.splitlines()[-1].startswith("error: nothing was kept")
    assert "Traceback" not in process.stderr
