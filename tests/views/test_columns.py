"""The steps of the layered layout by themselves: columns, few crossings, and heights that are nearest to straight."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygrad_ce.views.columns import ROW_GAP, Box, Item, join, order, rank, straighten

LINKS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda ends: ends[0] < ends[1]), max_size=20)


@settings(deadline=None)
@given(LINKS)
def test_each_item_stands_right_after_the_last_that_it_needs_and_each_leaf_right_before_its_first_use(ends):
    items = [Item() for _ in range(10)]
    rank(items, [(items[a], items[b]) for a, b in ends])
    for n, item in enumerate(items):
        needed = [items[a].rank for a, b in ends if b == n]
        uses = [items[b].rank for a, b in ends if a == n]
        if needed:
            assert item.rank == max(needed) + 1
        else:
            assert item.rank == (min(uses) - 1 if uses else 1)


def linked(permutation):
    """Two columns whose items are linked one to one."""
    left, right = [Item() for _ in permutation], [Item(rank=2) for _ in permutation]
    for item, n in zip(left, permutation, strict=True):
        join([item, right[n]], Box())
    return left, right


@given(st.permutations(range(7)))
def test_wires_that_need_not_cross_do_not(permutation):
    left, right = order([*linked(permutation)])
    assert [right.index(item.after[0][0]) for item in left] == [*range(7)]


HEIGHTS = st.lists(st.tuples(st.integers(1, 80), st.integers(-99, 99)), min_size=1, max_size=8)


@settings(deadline=None)
@given(HEIGHTS)
@example([(10, 0), (10, 27)])  # one pixel too near
def test_a_column_is_as_near_to_straight_as_its_order_allows(plan):
    """Each item is pulled by one that stays where it is; the nearest heights in order are an isotonic regression."""
    isotonic = pytest.importorskip("sklearn.isotonic")
    column = [Item(height=float(height), middle=0.0, box=Box()) for height, _ in plan]
    for item, (_, pull) in zip(column, plan, strict=True):
        join([item, Item(middle=float(pull), rank=2, box=Box())], Box())
    straighten([column], row_of=[0, 0, 0])
    offsets = np.cumsum([0, *(height + ROW_GAP for height, _ in plan[:-1])])
    expected = isotonic.isotonic_regression([pull for _, pull in plan] - offsets) + offsets
    np.testing.assert_allclose([item.y for item in column], expected, atol=1e-6)
    assert all(a.y + a.height + ROW_GAP <= b.y + 1e-6 for a, b in pairwise(column))
