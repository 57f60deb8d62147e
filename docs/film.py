"""Make docs/images/learning.svg: a network learns two moons; its boundary, its neurons and its loss, as a film.

    python docs/film.py [FILE]

Each frame is one state of the training; the SVG shows them one after the other, for ever. Whoever asks for less motion
sees the last one. The same file comes out each time.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.core import Array
from tinygrad_ce.views.picture import heat_map

STEPS = np.unique(np.round(np.geomspace(1, 401, 40)).astype(int) - 1)  # the first ones are the fastest
SECONDS = 0.2  # a frame; the last one stays
STILL = 12  # times as long
STRONGEST = 1.4  # the number of the full colour: a little paler, so that the data are seen on it
CELLS = 28  # a side of a heat map
BOUNDARY, NEURON = 250, 74  # sides of pictures
COLOURS = ("#0b62c4", "#b34a00")
HIDDEN = (4, 4)

STYLE = """
text { font: 15px "DejaVu Sans", Verdana, sans-serif; fill: #1b1f24; }
.soft { fill: #57606a; font-size: 13px; }
.paper { fill: #ffffff; } image { image-rendering: auto; }
.frame { visibility: hidden; animation: show {seconds}s step-end infinite; }
.line { fill: none; stroke: #1b1f24; stroke-width: 2.5; }
.axis { fill: none; stroke: #8c959f; } .chance { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 6 4; }
.ring { fill: none; stroke: #57606a; }
@media (prefers-reduced-motion: reduce) { .frame { animation: none; } .last { visibility: visible; } }
"""


def trained() -> tuple[list[tuple[int, float, list[Array], list[Array]]], Array, Array, Array]:
    """What each frame shows (step, loss, weights, activations of all layers on a grid), the data, and all losses."""
    data = tg.data.moons(120, noise=0.12, seed=1)
    X = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
    tg.seed(4)
    sizes = (2, *HIDDEN, 2)
    layers = [tg.nn.Dense(a, b) for a, b in pairwise(sizes)]
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer = tg.optim.SGD(parameters, lr=0.3, momentum=0.5)
    side = np.linspace(-2.2, 2.2, CELLS)
    grid = np.stack(np.meshgrid(side, -side), axis=-1).reshape(-1, 2)

    def activations(x: Array) -> list[tg.Tensor]:
        found = [layers[0](x)]
        for layer in layers[1:]:
            found.append(layer(np.tanh(found[-1])))
        return found

    frames, losses = [], []
    for step in range(STEPS[-1] + 1):
        loss = tg.losses.softmax_cross_entropy(activations(X)[-1], data.y)
        losses.append(loss.item())
        if step in STEPS:
            *hidden, scores = (z.data for z in activations(grid))
            p = np.tanh((scores[:, 1] - scores[:, 0]) / 2)  # 2 p - 1 of the second class
            maps = [np.tanh(z) for z in hidden]
            frames.append((step, loss.item(), [layer.W.data.copy() for layer in layers], [*maps, p[:, None]]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return frames, X, data.y, np.array(losses)


def picture(values: Array, x: float, y: float, side: float) -> str:
    """A function on the plane as an image: blue is negative, orange positive, and white as large as 0."""
    table = values.reshape(CELLS, CELLS)
    scale = np.full((1, CELLS), STRONGEST)  # cut off below: colours are shares of the largest number of a table
    address, _, _ = heat_map(np.concatenate([table, table[-1:], scale]))
    size = f'width="{side}" height="{side * (CELLS + 2) / CELLS:.2f}"'
    image = f'<image {size} preserveAspectRatio="none" href="{address}"/>'
    return f'<svg x="{x}" y="{y}" width="{side}" height="{side}">{image}</svg>'


def places() -> list[list[tuple[float, float]]]:
    """The top left corner of each neuron, by layer; the last one is the boundary."""
    columns = [[(330.0 + 150 * k, 58 + 92.0 * n) for n in range(size)] for k, size in enumerate(HIDDEN)]
    return [[(20.0, 150.0), (20.0, 250.0)], *columns, [(650.0, 62.0)]]


def wires(weights: list[Array]) -> list[str]:
    """Lines between neurons: orange for a positive weight, blue for a negative one, as wide as it is large."""
    columns, lines = places(), []
    for k, W in enumerate(weights):
        for (i, j), w in np.ndenumerate(W if k < len(weights) - 1 else W[:, 1:] - W[:, :1]):
            (x, y), (to_x, to_y) = columns[k][i], columns[k + 1][j]
            side, height = (NEURON if k else 60), (NEURON if k < len(weights) - 1 else BOUNDARY)
            look = (
                f'stroke="{COLOURS[int(w > 0)]}" stroke-width="{min(0.4 + 2.2 * abs(w), 9):.1f}" stroke-opacity="0.75"'
            )
            lines.append(f'<path d="M{x + side},{y + side / 2}L{to_x},{to_y + height / 2}" {look}/>')
    return lines


def curve(losses: Array, step: int) -> str:
    """The losses so far as a line, over the steps on a scale of roots, so that the first ones are seen."""
    n = np.arange(step + 1)
    points = " ".join(f"{curve_x(k):.1f},{curve_y(losses[k]):.1f}" for k in np.unique(np.r_[n[:60], n[::8], step]))
    return f'<polyline class="line" points="{points}"/>'


def curve_x(step: float) -> float:
    return float(330 + 570 * (step / STEPS[-1]) ** 0.5)


def curve_y(loss: float) -> float:
    return 590 - 130 * float(loss)


def dot(a: float, b: float, label: int) -> str:
    """A row of the data, over the boundary: a disc for the first class, a square for the second."""
    (left, top), unit = places()[-1][0], BOUNDARY / 4.4
    x, y, look = left + (a + 2.2) * unit, top + (2.2 - b) * unit, f'fill="{COLOURS[label]}" stroke="#ffffff"'
    if label:
        return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" {look}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {look}/>'


def film() -> str:
    """The whole SVG."""
    frames, X, y, losses = trained()
    columns = places()
    total = SECONDS * (len(frames) + STILL)
    share = 100 * SECONDS / total
    names = "".join(
        f'<text x="{columns[k][0][0]}" y="40">{name}</text>'
        for k, name in enumerate(("", "hidden layer 1", "hidden layer 2", "what it answers, and the data"))
        if name
    )
    inputs = "".join(
        f'<rect class="ring" x="{x}" y="{y}" width="60" height="60" rx="8"/><text x="{x + 20}" y="{y + 36}">x{n}</text>'
        for n, (x, y) in enumerate(columns[0], start=1)
    )
    dots = "".join(dot(a, b, label) for (a, b), label in zip(X, y, strict=True))
    chance = curve_y(np.log(2))
    shown = []
    for n, (step, loss, weights, maps) in enumerate(frames):
        images = [
            picture(values[:, j], *columns[k + 1][j], BOUNDARY if k == len(HIDDEN) else NEURON)
            for k, values in enumerate(maps)
            for j in range(values.shape[1])
        ]
        last = n == len(frames) - 1
        texts = (
            f'<text x="20" y="530">step {step}</text><text x="20" y="556">loss {loss:.3f}</text>'
            f'<circle cx="{curve_x(step):.1f}" cy="{curve_y(loss):.1f}" r="5"/>'
        )
        delay = f"animation-delay: {n * SECONDS:.1f}s" + ("; animation-name: stay" if last else "")
        content = "".join([*wires(weights), *images, curve(losses, step), texts])
        shown.append(f'<g class="frame{" last" if last else ""}" style="{delay}">{content}</g>')
    keep = 100 * STILL * SECONDS / total + share
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 930 620" width="930" height="620" role="img">',
            "<title>A network with two hidden layers of four neurons learns to tell two moons apart</title>",
            f"<style>{STYLE.replace('{seconds}', f'{total:.1f}')}",
            f"@keyframes show {{ 0% {{ visibility: visible; }} {share:.3f}% {{ visibility: hidden; }} }}",
            f"@keyframes stay {{ 0% {{ visibility: visible; }} {keep:.3f}% {{ visibility: hidden; }} }}</style>",
            f'<rect class="paper" width="930" height="620"/>{names}{inputs}',
            *shown,
            dots,
            f'<path class="axis" d="M330,470V590.5H900"/><path class="chance" d="M330,{chance:.1f}H900"/>',
            f'<text class="soft" x="792" y="{chance - 6:.1f}">guessing: ln 2</text>',
            '<text class="soft" x="330" y="462">loss</text><text class="soft" x="862" y="608">step</text>',
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "learning.svg"
    path.write_text(film(), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
