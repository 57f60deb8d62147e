"""Small networks with their live pages, for the tests of the panels that show numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.live import live

LOSSES = {
    "softmax": tg.losses.softmax_cross_entropy,
    "sigmoid": tg.losses.sigmoid_binary_cross_entropy,
    "mse": tg.losses.mse,
}
OPTIMIZERS = {
    "SGD": lambda p: tg.optim.SGD(p, lr=0.3),
    "momentum": lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: tg.optim.Adam(p, lr=0.03),
    "AdamW": lambda p: tg.optim.AdamW(p, lr=0.03),
    "RMSprop": lambda p: tg.optim.RMSprop(p, lr=0.01),
    "AdaGrad": lambda p: tg.optim.AdaGrad(p, lr=0.1),
}


@dataclass
class Network:
    """A model with loss, optimizer and data."""

    model: Any
    loss: Any
    optimizer: Any
    x: np.ndarray
    y: np.ndarray

    @property
    def names(self):
        """The page's names of the parameters, in the order of `parameters()`."""
        dense = [k for k, layer in enumerate(self.model.layers) if isinstance(layer, tg.nn.Dense)]
        return [f"{letter}{k}" for k in dense for letter in "Wb"]

    def step_loss(self):
        return self.loss(self.model(self.x), self.y)

    def page(self):
        y = self.y.reshape(-1)
        classes = () if self.loss is LOSSES["mse"] else ("no", "yes")
        data = tg.data.Dataset(
            self.x, y.astype(int) if classes else y, ("a", "b"), classes, "small", np.array([True, True])
        )
        return live(tg.Trainer(self.model, self.loss, self.optimizer), data, test=data, moments=[])

    def set_parameters(self, arrays):
        for parameter, array in zip(self.model.parameters(), arrays, strict=True):
            parameter.data = np.array(array, float)

    def parameters(self):
        return [parameter.data.copy() for parameter in self.model.parameters()]


def network(*layers, loss="softmax", optimizer="SGD", rows=12, seed=3):
    """Layers: numbers are the widths of Dense layers after two inputs, classes are activations between them."""
    tg.seed(seed)
    width, modules = 2, []
    for layer in layers:
        if isinstance(layer, int):
            modules.append(tg.nn.Dense(width, layer))
            width = layer
        else:
            modules.append(layer())
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 2))
    y = generator.integers(0, 2, rows)
    y = {"softmax": y, "sigmoid": y.reshape(-1, 1).astype(float), "mse": generator.normal(size=(rows, width))}[loss]
    model = tg.nn.Sequential(*modules)
    return Network(model, LOSSES[loss], OPTIMIZERS[optimizer](model.parameters()), x, y)


SET_STATE = """(arrays) => {
  for (const [name, numbers] of Object.entries(arrays)) session.step.state[name].set(numbers.map(Number));
  compute();
}"""


def as_text(array):
    """Numbers that JSON cannot hold among them."""
    words = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
    return [words.get(text, text) for text in map(repr, np.asarray(array, float).ravel().tolist())]
