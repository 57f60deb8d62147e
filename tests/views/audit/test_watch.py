"""The audit changes nothing, follows a training over time, and refuses bad input."""

import re
from copy import deepcopy

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest
from fused import ready_gradient
from views.audit.networks import X, Y, loss_of, network, trained

import tinygrad_ce as tg
from tinygrad_ce import nn, optim
from tinygrad_ce.views import Watch
from tinygrad_ce.views.audit import SEPARATE, audit

rng = np.random.default_rng(7)


# ---- nothing is changed


def state_of(model, optimizer, generator):
    return deepcopy(
        (
            model.state(),
            [parameter.grad for parameter in model.parameters()],
            optimizer.state(),
            optimizer.steps,
            generator.bit_generator.state,
            tg.nn.init.generator().bit_generator.state,
            np.random.get_state()[1].tolist(),
            [module.training for module in model.modules()],
        )
    )


def normalised(rate=0.3):
    tg.seed(0)
    return nn.Sequential(nn.Dense(6, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(rate), nn.Dense(8, 3))


@pytest.mark.parametrize("with_gradients", [False, True])
def test_an_audit_changes_nothing(with_gradients):
    model = normalised()
    optimizer = optim.Adam(model.parameters())
    generator = model.layers[3].generator = np.random.default_rng(1)
    if with_gradients:
        loss_of(model).backward()
        optimizer.step()
    loss = loss_of(model)
    ready = None if ready_gradient(loss) is None else ready_gradient(loss).copy()
    before = state_of(model, optimizer, generator)
    str(audit(model, loss, optimizer))
    np.testing.assert_equal(state_of(model, optimizer, generator), before)
    np.testing.assert_equal(ready_gradient(loss), ready)
    assert loss.grad is None
    expected = tg.gradients(loss, model.parameters())
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("compile", [False, True])
def test_watching_a_training_does_not_change_it(compile):
    def learnt(*callbacks):
        model = normalised()
        trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(model.parameters(), lr=0.02))
        history = trainer.fit(X, Y, epochs=4, batch_size=16, seed=3, compile=compile, callbacks=list(callbacks))
        assert history.compiled == compile
        return model.state(), history.columns

    watch = Watch(X[:20], Y[:20])
    np.testing.assert_equal(learnt(watch), learnt())
    assert watch.epochs == [1, 2, 3, 4]
    assert len({found.loss for found in watch.audits}) == 4


def test_watching_leaves_the_model_the_generators_and_the_averages_alone():
    class Counting(nn.Module):
        def __init__(self):
            self.calls, self.seen, self.total = 0, [], np.zeros(1)
            self.generator = np.random.default_rng(5)

        def forward(self, x):
            self.calls += 1
            self.seen.append(x.shape)
            self.total += 1
            self.new = np.random.normal() + self.generator.normal()
            return x + self.new

    model = nn.Sequential(*normalised().layers, Counting())
    counting, dropout = model.layers[-1], model.layers[3]
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    model.eval()
    before = state_of(model, trainer.optimizer, counting.generator)
    arrays = [parameter.data for parameter in model.parameters()]
    Watch(X, Y)(trainer, {"epoch": 1})
    np.testing.assert_equal(state_of(model, trainer.optimizer, counting.generator), before)
    assert all(parameter.data is array for parameter, array in zip(model.parameters(), arrays, strict=True))
    assert (counting.calls, counting.seen, counting.total.tolist()) == (0, [], [0.0])
    assert not hasattr(counting, "new")
    assert dropout.generator is None


def test_watching_looks_at_the_model_in_training():
    """The outputs of BatchNorm have mean 0 there; in evaluation they would not, before the averages have followed."""
    model = normalised(rate=0.0)
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=0.1))
    model.eval()
    watch = Watch(X + 5, Y)
    watch(trainer)
    assert watch.audits[0].rows[1].mean == pytest.approx(0, abs=1e-9)
    assert watch.audits[0].rows[0].mean != pytest.approx(0, abs=0.1)


# ---- over time


def test_a_watch_audits_the_model_as_it_is_after_each_epoch():
    watch = Watch(X, Y)
    trainer = trained(watch)
    by_hand = audit(trainer.model, loss_of(trainer.model), trainer.optimizer)
    assert watch.audits[-1].rows == by_hand.rows
    assert watch.audits[0].loss > watch.audits[-1].loss == by_hand.loss


def test_data_are_turned_to_the_parameters_dtype():
    watch = Watch(X.tolist(), Y.tolist())
    trained(watch, model=network().astype(np.float32))
    assert watch.audits[-1].verdict == "fine"


def test_every_says_how_often_and_epochs_are_counted_on():
    watch = Watch(X, Y, every=3)
    trainer = trained(watch, epochs=5)
    trainer.fit(X, Y, epochs=3, callbacks=[watch])
    assert watch.epochs == [1, 4, 7]


def test_the_table_has_the_verdicts_as_spans_of_epochs():
    watch = Watch(X, Y)
    trainer = trained(watch, epochs=2)
    trainer.optimizer.lr = 1e-5
    trainer.fit(X, Y, epochs=3, callbacks=[watch])
    assert re.search(r"layers\.0  Dense\(6, 8\) +fine 1-2, updates too small 3-5\n", watch.table())
    assert re.search(r"layers\.1  Tanh\(\) +fine 1-5\n", watch.table())
    assert str(watch) == repr(watch) == watch.table()
    assert re.search(r"<td [^>]*><b>fine 1-2, updates too small 3-5</b></td>", watch._repr_html_())


def test_a_layer_that_is_not_always_called_is_watched_when_it_is():
    class Sometimes(nn.Module):
        depth = 0

        def __init__(self):
            self.first, self.skipped = nn.Dense(6, 3), nn.Tanh()

        def forward(self, x):
            z = self.first(x)
            return self.skipped(z) * 2.0 if self.depth % 2 else z

    def deeper(trainer, row):
        Sometimes.depth += 1

    watch = Watch(X, Y)
    trained([watch, deeper], epochs=4, model=Sometimes())
    assert re.search(rf"skipped  Tanh\(\) +{SEPARATE} 1, fine 2, {SEPARATE} 3, fine 4", str(watch))
    assert re.search(rf"\(model\)  Sometimes +{SEPARATE} 1, fine 2, {SEPARATE} 3, fine 4", str(watch))
    watch.plot()


def test_a_layer_whose_settings_change_stays_one_layer():
    model = normalised(rate=0.5)

    def softer(trainer, row):
        model.layers[3].rate /= 2

    watch = Watch(X, Y)
    trained([watch, softer], epochs=3, model=model)
    assert re.findall(r"layers\.3  Dropout.*", str(watch)) == ["layers.3  Dropout(0.125)   fine 1-3"]


def test_the_page_is_called_by_the_model_and_headed_by_what_was_found():
    watch = Watch(X, Y)
    trained(watch, epochs=2)
    page = watch.page()
    assert repr(page) == '<a page that shows Sequential, 2 audits: .save("watch.html")>'
    assert "<title>Sequential, 2 audits</title>" in page.html
    assert re.search(r"<h1>Sequential, 2 audits, loss \S+ to \S+; at the end fine</h1>", page.html)


@pytest.mark.parametrize("epochs", [1, 6])
def test_the_plot_has_the_numbers_of_the_audits(epochs, tmp_path):
    watch = Watch(X, Y)
    trained(watch, epochs=epochs)
    figure = watch.plot(tmp_path / "audit.png")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert matplotlib.image.imread(tmp_path / "audit.png").std() > 0.05
    updates, gradients, of_the_last, shares = figure.axes
    assert updates.get_yscale() == gradients.get_yscale() == of_the_last.get_yscale() == "log"
    healthy, *lines = updates.lines
    np.testing.assert_array_equal(healthy.get_ydata(), 1e-3)
    for line, i in zip(lines, (0, 2), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), watch.epochs)
        np.testing.assert_array_equal(line.get_ydata(), [found.rows[i].update_per_weight for found in watch.audits])
    for line, i in zip(gradients.lines, (0, 2), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), [found.rows[i].gradient for found in watch.audits])
    for line, i in zip(of_the_last.lines, (0, 2), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), [found.rows[i].share for found in watch.audits])
    saturated, dead = shares.lines
    np.testing.assert_array_equal(saturated.get_ydata(), [found.rows[1].saturated for found in watch.audits])
    np.testing.assert_array_equal(dead.get_ydata(), [found.rows[1].dead for found in watch.audits])


def test_many_layers_and_gradients_of_zero_can_be_plotted(tmp_path):
    watch = Watch(X, Y)
    trained(watch, epochs=2, model=network(nn.ReLU, (6, *[4] * 30, 3), bias=-30))
    figure = watch.plot(tmp_path / "audit.png")
    assert len(figure.axes[0].get_legend().get_texts()) <= 14


# ---- bad input


def test_what_is_no_model_loss_or_optimizer_is_refused():
    model = network()
    loss = loss_of(model)
    with pytest.raises(TypeError, match=r"model is Tensor; it must be a tg\.nn\.Module"):
        audit(loss, model)
    with pytest.raises(TypeError, match=r"tg\.audit: a loss is a Tensor .* and this is float"):
        audit(model, 0.3)
    with pytest.raises(ValueError, match=r"a loss is a single number, and .* has shape \(40, 3\)"):
        audit(model, model(X))
    with pytest.raises(ValueError, match="has no history"):
        audit(model, tg.Tensor(1.0))
    with tg.no_grad():
        unrecorded = loss_of(model)
    with pytest.raises(ValueError, match="has no history"):
        audit(model, unrecorded)
    with pytest.raises(TypeError, match=r"optimizer is float; pass one of tg\.optim"):
        audit(model, loss, 0.1)
    with pytest.raises(ValueError, match=r"holds no parameter of this model: make it with model\.parameters\(\)"):
        audit(model, loss, optim.SGD(network().parameters()))


def test_a_loss_of_another_model_is_refused():
    with pytest.raises(
        ValueError, match=r"no operation of this loss was made in this Sequential: .* calling model\(x\)"
    ):
        audit(network(), loss_of(network()))


def test_a_loss_of_a_training_step_is_refused():
    """The optimizer has written to the parameters since."""
    model, losses = network(), []

    def keeping(predictions, targets):
        losses.append(tg.losses.softmax_cross_entropy(predictions, targets))
        return losses[-1]

    tg.Trainer(model, keeping, optim.SGD(model.parameters())).fit(X, Y, epochs=1, compile=False)
    with pytest.raises(ValueError, match="written to after the loss was computed"):
        audit(model, losses[-1])


def test_a_watch_says_what_it_needs():
    with pytest.raises(ValueError, match=r"Watch: X has shape \(40, 6\) and y \(39,\)"):
        Watch(X, Y[1:])
    with pytest.raises(ValueError, match=r"Watch: X has no rows: pass one batch, as Watch\(X\[:100\], y\[:100\]\)"):
        Watch(X[:0], Y[:0])
    with pytest.raises(ValueError, match="Watch: every is 0"):
        Watch(X, Y, every=0)
    with pytest.raises(TypeError, match=r"Watch: every is 1\.5"):
        Watch(X, Y, every=1.5)
    watch = Watch(X, Y)
    assert "nothing has been watched yet" in str(watch)
    assert "nothing has been watched yet" in watch._repr_html_()
    with pytest.raises(ValueError, match="nothing to plot before the first epoch"):
        watch.plot()
    trained(watch)
    with pytest.raises(ValueError, match="this one has watched another model"):
        trained(watch)


# ---- alarms, and the page


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("stop_when", ["updates too large", ["dead", "updates too large"]])
def test_an_alarm_ends_the_training_and_the_history_says_why(compile, stop_when):
    watch = Watch(X, Y, stop_when=stop_when)
    model = network()
    trainer = tg.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD(model.parameters(), lr=5.0))
    history = trainer.fit(X, Y, epochs=9, batch_size=20, seed=0, compile=compile, callbacks=[watch])
    assert history.compiled == compile
    assert len(history) == len(watch.audits) == 1
    paths = ", ".join(row.path for row in watch.audits[-1].illnesses["updates too large"])
    assert history.stopped == watch.reason == f"updates too large: {paths}, after epoch 1"
    assert f"It has ended the training: {history.stopped}." in " ".join(str(watch).split())


def test_without_its_verdict_an_alarm_is_silent():
    watch = Watch(X, Y, stop_when=["dead", "not finite"])
    trainer = trained(watch, lr=5.0)
    assert (trainer.history.stopped, watch.reason, len(watch.audits)) == ("finished", "", 3)
    assert "ended" not in str(watch)


def test_an_alarm_may_be_a_function_of_the_audit():
    def low_enough(found):
        return found.loss < first

    seen = Watch(X, Y)
    trained(seen, epochs=4)
    first = seen.audits[1].loss + 1e-9
    watch = Watch(X, Y, stop_when=low_enough)
    trainer = trained(watch, epochs=4)
    assert trainer.history.stopped == "low_enough, after epoch 2"
    trainer.fit(X, Y, epochs=2, callbacks=[watch])  # it rings again
    assert watch.epochs == [1, 2, 3]


def test_a_callback_of_ones_own_that_says_nothing_is_called_callback():
    trainer = trained(lambda trainer, row: True)
    assert trainer.history.stopped == "callback"


def test_an_alarm_for_what_is_no_verdict_is_refused():
    with pytest.raises(ValueError, match=r"stop_when='deda' is no verdict: .* did you mean 'dead'\?"):
        Watch(X, Y, stop_when="deda")
    with pytest.raises(ValueError, match="stop_when='fine' is no verdict"):
        Watch(X, Y, stop_when=["dead", "fine"])
    with pytest.raises(ValueError, match="stop_when=3 is no verdict"):
        Watch(X, Y, stop_when=["dead", 3])
    with pytest.raises(ValueError, match=r"stop_when=\['dead'\] is no verdict"):
        Watch(X, Y, stop_when=[["dead"]])
    with pytest.raises(ValueError, match=r"stop_when='xxx.* is no verdict") as long:
        Watch(X, Y, stop_when="x" * 5000)
    assert len(str(long.value)) < 300
    with pytest.raises(TypeError, match=r"stop_when=0\.5 must be a verdict, a list of them or a function of an Audit"):
        Watch(X, Y, stop_when=0.5)


def test_the_page_has_verdicts_curves_and_figures(tmp_path):
    watch = Watch(X, Y)
    with pytest.raises(ValueError, match="before the first epoch"):
        watch.page()
    trained(watch, epochs=2)
    html = watch.page().save(tmp_path / "watch.html").read_text()
    assert re.search(r"layers\.0  Dense\(6, 8\)</t[hd]>.*?fine 1-2", html, re.DOTALL)
    assert html.count("data:image/png;base64,") == 1
    for title in ("The verdicts by epoch", "The curves", "After epoch 2", "All its figures"):
        assert title in html
    assert f"{watch.audits[-1].rows[0].update_per_weight:.2g}" in html
    assert html.count("2 audits") == 2  # as the title of the page and, once, at its top
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
