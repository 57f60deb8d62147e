"""The ways by which a tensor reaches the loss, and what comes back along each: rules are linear in what is upstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Edge, Graph, Node

MOST_FOLLOWED = 256  # paths, of which the largest are sought
MOST_RULES = 20_000  # called on the way


@dataclass(frozen=True, eq=False)
class Path:
    """One way from a tensor to the loss.

    names: of the tensors on the way, the tensor itself first. upstream: what comes back to the first operation if only
    this way is followed, in the shape of its result. contribution: what comes back to the tensor, in its shape.
    """

    edges: tuple[Edge, ...]
    upstream: Array
    contribution: Array

    @property
    def names(self) -> tuple[str, ...]:
        return (self.edges[0].source.name, *(edge.target.name for edge in self.edges))

    def __repr__(self) -> str:
        return f"<path {' -> '.join(self.names)}>"


def argument(use: Edge) -> str:
    """What the operation calls the tensor: `W`, or `arrays[1]` where it takes any number of inputs."""
    op = use.target.op
    assert op is not None
    first = len(op.arguments) - 1
    return f"{op.starred}[{use.position - first}]" if op.starred and use.position >= first else use.argument


def size_at(array: Array | None, cell: tuple[int, ...] | None) -> float:
    """How large an array is at a cell; what is not a number counts as the largest."""
    if array is None or cell is None:
        return 0.0
    size = float(np.abs(array[cell]))
    return np.inf if np.isnan(size) else size


def largest(uses: list[Edge], cell: tuple[int, ...] | None, most: int) -> list[Edge]:
    """The uses with the largest shares at a cell, in their own order."""
    first = sorted(uses, key=lambda use: -size_at(use.share, cell))[:most]
    return [use for use in uses if use in first]


def ways_to_the_loss(graph: Graph, node: Node) -> dict[Node, int]:
    """For the node and each that depends on it, the youngest first: how many paths lead from there to the loss."""
    depends = {node}
    for other in graph.nodes:  # the oldest first, so that what an operation was given is decided before its result
        if any(edge.share is not None and edge.source in depends for edge in other.inputs):
            depends.add(other)
    ways: dict[Node, int] = {}
    for other in reversed(graph.nodes):
        if other in depends:
            ways[other] = 1 if other is graph.loss else sum(ways[edge.target] for edge in other.backward_uses)
    return ways


def all_paths(node: Node, ways: dict[Node, int]) -> list[Path] | None:
    """Every path of the node; None if they are too many, or too long, to be followed."""
    if ways[node] > MOST_FOLLOWED or sum(ways.values()) > MOST_RULES:
        return None
    loss = next(iter(ways))
    found = []
    stack: list[tuple[Node, Array, Any]] = [(loss, np.ones_like(loss.value), None)]
    while stack:  # from the loss down, so that what paths have in common is computed once
        target, upstream, rest = stack.pop()
        for edge in target.inputs:
            if edge.share is None or edge.source not in ways:
                continue
            share = edge.pulled(upstream)
            if edge.source is node:
                found.append(Path(tuple(_linked((edge, rest))), upstream, share))
            else:
                stack.append((edge.source, share, (edge, rest)))
    return found


def _linked(link: Any) -> Iterator[Edge]:
    while link is not None:
        edge, link = link
        yield edge


def some_paths(use: Edge, ways: dict[Node, int], most: int) -> list[Path]:
    """A few of the paths that begin with this use: where the way forks, the use with the largest share goes first."""
    return [_followed(edges) for edges in islice(_chains(use), most)] if ways[use.target] > 1 else [only_path(use)]


def _chains(use: Edge) -> Iterator[tuple[Edge, ...]]:
    chain = [use]
    open_uses = [_largest_first(use.target)]
    while chain:
        following = next(open_uses[-1], None)
        if following is not None:
            chain.append(following)
            open_uses.append(_largest_first(following.target))
            continue
        if not chain[-1].target.uses:
            yield tuple(chain)
        chain.pop()
        open_uses.pop()


def _largest_first(node: Node) -> Iterator[Edge]:
    return iter(sorted(node.backward_uses, key=lambda edge: -float(np.abs(edge.share).sum())))  # type: ignore[arg-type]


def _followed(edges: tuple[Edge, ...]) -> Path:
    """What comes back if only these edges are followed."""
    share = np.ones_like(edges[-1].target.value)
    for edge in reversed(edges):
        upstream, share = share, edge.pulled(share)
    return Path(edges, upstream, share)


def only_path(use: Edge) -> Path:
    """The path of a use from which one way leads to the loss: all that comes back along it has come that way."""
    edges = next(_chains(use))
    assert use.target.gradient is not None
    assert use.share is not None
    return Path(edges, use.target.gradient, use.share)
