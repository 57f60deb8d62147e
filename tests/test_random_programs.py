"""300 of the random programs: eager = traced = printed = loops, and gradients and Hessian products are autograd's."""

import pytest
from random_programs import check_program


@pytest.mark.parametrize("first", range(0, 300, 20))
def test_random_programs_are_the_same_in_every_way(first):
    for seed in range(first, first + 20):
        check_program(seed)
