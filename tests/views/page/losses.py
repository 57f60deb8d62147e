"""Losses to step through, and what the page shows of them."""

from types import SimpleNamespace

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce import ops

DESKTOP, PHONE = (1400, 950), (390, 844)
MARKUP = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>")


def wanted(data, name=None):
    return tg.Tensor(data, requires_grad=True, name=name)


def textbook():
    """A 2-3-1 network with a batch of 4, and every number of its forward and backward pass, by hand."""
    rng = np.random.default_rng(1)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.Tanh(), tg.nn.Dense(3, 1))
    x, y = rng.normal(size=(4, 2)), np.array([[0.0], [1], [0], [1]])
    by_hand = {"x": x, "y": y} | {name[-1] + name[7]: p.data for name, p in model.named_parameters()}
    n = SimpleNamespace(**by_hand)
    n.z1 = x @ n.W0 + n.b0
    n.h1 = np.tanh(n.z1)
    n.z2 = n.h1 @ n.W2 + n.b2
    p = 1 / (1 + np.exp(-n.z2))
    n.loss = np.mean(-(y * np.log(p) + (1 - y) * np.log(1 - p)))
    n.d_loss = np.array(1.0)
    n.d_z2 = (p - y) / 4
    n.d_h1, n.d_W2, n.d_b2 = n.d_z2 @ n.W2.T, n.h1.T @ n.d_z2, n.d_z2.sum(axis=0)
    n.d_z1 = n.d_h1 * (1 - n.h1**2)
    n.d_W0, n.d_b0 = x.T @ n.d_z1, n.d_z1.sum(axis=0)
    return tg.losses.sigmoid_binary_cross_entropy(model(tg.Tensor(x, name="x")), y), n


def diamond():
    """a is used four times: 2 sin a a + a^2 cos a + 1 is its gradient."""
    a = wanted(2.0, "a")
    return a * a * np.sin(a) + a


def network_of_digits(rows=32):
    """Of the size of digits, without the data."""
    rng = np.random.default_rng(2)
    tg.seed(0)
    model = tg.nn.Sequential(tg.nn.Dense(64, 32), tg.nn.Tanh(), tg.nn.Dense(32, 10))
    x = tg.Tensor(rng.normal(size=(rows, 64)), name="x")
    return tg.nn.SoftmaxCrossEntropy()(model(x), rng.integers(0, 10, rows))


def shared_maps():
    """A tensor that is shown as a heat map, and used twice."""
    w = wanted(np.linspace(-1, 1, 60).reshape(6, 10), "w")
    return (w * w).sum() + (3 * w).sum()


def many_operations(n=500):
    a = t = wanted(2.0, "a")
    for _ in range(n // 4):
        t = (t * 0.9 + a) * np.sin(t)
    return t


def peculiar():
    """Losses with numbers, shapes and operations that are not those of every day."""
    rng, losses = np.random.default_rng(0), {}
    tg.seed(0)
    x = wanted([1.0, 0.0, -1.0, 2.0], "x")
    losses["nan"] = (np.log(x) * x).sum()
    losses["inf"] = (np.exp(x * 800) / x).sum()
    losses["float32"] = (np.tanh(wanted(np.ones((2, 2), np.float32), "x") @ np.ones((2, 2), np.float32))).mean()
    losses["integers"] = (x * np.arange(4) + np.arange(4)).sum()
    losses["booleans"] = ops.where(x > 0.5, x * x, -x).sum()
    losses["0-d"] = wanted(3.0, "s") * wanted(2.0, "t")
    losses["empty"] = (wanted(np.zeros((0, 3)), "e") * 2).sum() + wanted(1.0, "k")
    losses["3-d"] = (wanted(rng.normal(size=(2, 3, 4)), "y") @ wanted(rng.normal(size=(2, 4, 2)), "m")).sum()
    losses["large 3-d"] = (wanted(rng.normal(size=(3, 6, 9)), "y") ** 2).mean()
    losses["a row"] = (wanted(rng.normal(size=(1, 200)), "r") ** 2).sum()
    losses["a vector"] = (wanted(rng.normal(size=200), "r") ** 2).sum()
    losses["a long vector"] = (wanted(rng.normal(size=40_000), "r") ** 2).sum()
    losses["a batch of 1"] = tg.losses.softmax_cross_entropy(tg.nn.Dense(3, 2)(rng.normal(size=(1, 3))), [1])
    z = wanted(rng.normal(size=(4, 3)), "z")
    losses["fused"] = tg.losses.cross_entropy(ops.softmax(z), [0, 1, 2, 1])
    losses["unfused"] = tg.losses.cross_entropy(ops.softmax(z), [0, 1, 2, 1], fused=False)
    layers = tg.nn.Dense(3, 4), tg.nn.BatchNorm(4), tg.nn.ReLU(), tg.nn.Dropout(0.5), tg.nn.LayerNorm(4)
    model = tg.nn.Sequential(*layers, tg.nn.Dense(4, 2))
    losses["norms and dropout"] = tg.losses.softmax_cross_entropy(model(rng.normal(size=(5, 3))), [0, 1, 0, 1, 1])
    losses["embedding"] = (tg.nn.Dense(3, 2)(tg.nn.Embedding(7, 3)(np.array([1, 5, 1, 0])))).mean()
    losses["a user's primitive"] = users_primitive()(wanted([1.0, 2.0, -3.0], "u")).sum()
    losses["joined"] = (ops.concatenate(*[wanted(np.ones((2, 2)), f"c{n}") for n in range(9)]) ** 2).sum()
    losses["largest"] = wanted(rng.normal(size=(3, 4)), "x").max(axis=1).sum()
    losses["chosen cells"] = np.log(ops.softmax(z))[np.arange(4), [0, 1, 2, 1]].mean()
    losses["an operation and itself"] = (lambda b: b + b)(wanted(2.0, "a") * 3.0)
    for name in (*MARKUP, "a&b\"c'd", "n" * 300, "😀 שלום"):
        losses[f"named {name[:12]}"] = (wanted([1.0, 2.0], name) * tg.Tensor([3.0, 4.0], name=name)).sum().named(name)
    return losses


def users_primitive():
    @tg.primitive
    def cube_of_the_page(x, *, times=3):
        """Three <b>times</b> </script><script>alert(1)</script> & more."""
        return x**times

    @cube_of_the_page.vjp("x")
    def cube_of_the_page_x(g, out, x, *, times):
        return g * times * x ** (times - 1)

    del tg.core.REGISTRY["cube_of_the_page"]  # other tests ask every primitive for samples
    return cube_of_the_page


def page_of(loss):
    with np.errstate(all="ignore"):
        return tg.step_through(loss)


READ = """() => {
  const texts = (selector) => [...document.querySelectorAll(selector)].map((x) => x.textContent);
  const tables = (selector) => Object.fromEntries([...document.querySelectorAll(selector)].map((figure) => [
    figure.querySelector("figcaption").textContent,
    [...figure.querySelectorAll("tr")].map((row) => [...row.querySelectorAll("td")].map((cell) => cell.textContent)),
  ]));
  return {
    headline: document.getElementById("headline").textContent, filled: texts(".filled"), rule: texts(".rule"),
    tables: tables("#detail figure:not(.opened figure)"), opened: tables("#detail .opened figure"),
    lines: texts("#program .now"),
    detail: document.getElementById("detail").innerText,
    count: document.getElementById("count").textContent, slider: document.getElementById("slider").value,
  };
}"""


def shown(page):
    """What the page shows of its step."""
    return SimpleNamespace(**page.evaluate(READ))


GO_TO = """(headline) => {
  document.getElementById("first").click();
  for (let n = 0; n < steps.length; n++) {
    if (document.getElementById("headline").textContent.startsWith(headline)) return true;
    document.getElementById("next").click();
  }
  return false;
}"""


def go_to(page, headline):
    """Step on from the start until this step."""
    assert page.evaluate(GO_TO, headline), headline
    return shown(page)


def four(number):
    """As the page shows numbers: four network_of_digits, and no sign of zeros."""
    return f"{number + 0.0:.4g}"


def rows(array):
    """The texts of a table."""
    array = np.asarray(array)
    table = array.reshape(1, -1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])
    return [[four(number) for number in row] for row in table]


def marked(page, kind):
    """The names of the cards that are shown in a way of their own."""
    script = "(kind) => [...cards].filter(([, card]) => card.classList.contains(kind)).map(([n]) => nodes[n].name)"
    return set(page.evaluate(script, kind))


def card_of(page, name):
    return page.locator(f".tg-graph .node[data-node='{page.evaluate('nodes.map((node) => node.name)').index(name)}']")
