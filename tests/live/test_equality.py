"""The page's numbers are the engine's: after 1, 20 and 200 steps, in batches, and of any rows."""

import numpy as np
import pytest
from live.training import assert_same_numbers, nn, numbers, rows, stack, tanh_network, tanh_page, train, trainer_of

import tinygrad_ce as tg
from tinygrad_ce.live import live


def with_batch_norm():
    # no bias: batch norm takes it away again, and Adam would make large steps of its gradient, which is rounding
    return stack(lambda: nn.Dense(2, 5, bias=False), lambda: nn.BatchNorm(5), nn.ReLU, lambda: nn.Dense(5, 2))


def with_layer_norm():
    return stack(lambda: nn.Dense(2, 5), lambda: nn.LayerNorm(5), nn.Sigmoid, lambda: nn.Dense(5, 1))


def of_numbers():
    return stack(lambda: nn.Dense(3, 6), nn.GELU, lambda: nn.Dense(6, 1))


def of_probabilities():
    # the loops of its loss have more arrays than there are letters
    return stack(lambda: nn.Dense(2, 5), nn.Tanh, lambda: nn.Dense(5, 2), nn.Softmax)


TRAININGS = {
    "tanh, SGD": (lambda: trainer_of(tanh_network()), rows),
    "batch norm, ReLU, Adam": (lambda: trainer_of(with_batch_norm(), optimizer=tg.optim.Adam, lr=0.02), rows),
    "layer norm, sigmoid, BCE, momentum": (
        lambda: trainer_of(with_layer_norm(), tg.losses.sigmoid_binary_cross_entropy, lr=0.01, momentum=0.9),
        rows,
    ),
    "numbers, squared error, RMSprop": (
        lambda: trainer_of(of_numbers(), tg.losses.mse, tg.optim.RMSprop, lr=0.001),
        lambda: (numbers(), numbers(10)),
    ),
    "softmax, divergence": (lambda: trainer_of(of_probabilities(), tg.losses.kl_divergence), rows),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_parameters_and_memory_equal_the_engines(opened_live, name):
    make, data = TRAININGS[name]
    trainer, (training, test) = make(), data()
    page = opened_live(live(trainer, training, test=test))
    y = training.y.astype(float) if trainer.loss is tg.losses.sigmoid_binary_cross_entropy else training.y
    done = 0
    for steps in (1, 20, 200):
        page.evaluate(f"for (let i = {done}; i < {steps}; i++) trainStep()")
        train(trainer, training.X, y, steps - done)
        done = steps
        assert_same_numbers(page, trainer)


def test_batches_come_in_the_order_of_a_trainer_and_weights_by_the_seed(opened_live):
    training, _ = rows()
    page = opened_live(tanh_page())
    page.evaluate("choose({ seed: 11, batch: 16, rate: 0.2 })")
    trainer = trainer_of(tanh_network(seed=11), lr=0.2)
    assert_same_numbers(page, trainer, within=0)
    page.evaluate("for (let i = 0; i < 7; i++) trainStep()")
    page.evaluate("trainSteps(5)")
    trainer.fit(training, epochs=3, batch_size=16, seed=11, compile=False)  # 60 rows: batches of 16, 16, 16 and 12
    assert_same_numbers(page, trainer)


@pytest.mark.parametrize("batch", [20, 60])
def test_dropout_draws_the_masks_of_a_trainer(opened_live, batch):
    def network(seed):
        return stack(lambda: nn.Dense(2, 6), nn.Tanh, lambda: nn.Dropout(0.4), lambda: nn.Dense(6, 2), seed=seed)

    training, test = rows()
    page = opened_live(live(trainer_of(network(3)), training, test=test))
    page.evaluate(f"choose({{ seed: 5, batch: {batch} }})")
    page.evaluate(f"trainSteps({120 // batch})")
    trainer = trainer_of(network(5))
    trainer.fit(training, epochs=2, batch_size=batch, seed=5, compile=False)
    assert_same_numbers(page, trainer)
    loss = trainer.evaluate(test)["loss"]
    assert page.evaluate("session.history.test.at(-1)") == pytest.approx(loss, rel=1e-12)


def test_evaluation_answers_as_the_model_predicts(opened_live):
    training, test = rows()
    trainer = trainer_of(with_batch_norm())
    trainer.fit(training, epochs=2, batch_size=60, seed=0)
    page = opened_live(live(trainer, training, test=test))
    answers = page.evaluate(
        "(x) => [...evaluate(Float64Array.from(x))[session.network.output]]", test.X.ravel().tolist()
    )
    np.testing.assert_allclose(np.reshape(answers, (-1, 2)), trainer.model.eval()(tg.Tensor(test.X)).data, rtol=1e-12)
    assert page.evaluate("session.history.test[0]") == pytest.approx(trainer.evaluate(test)["loss"], rel=1e-12)
    assert page.evaluate("session.history.testAccuracy[0]") == trainer.evaluate(test)["accuracy"]
