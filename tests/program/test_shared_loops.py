"""The function that loops share: its arguments have names that none of its locals has."""

from tinygrad_ce.program.javascript_alike_text import Draft, SharedLoops


def test_no_argument_of_a_shared_loop_is_named_as_one_of_its_locals():
    arrays = [f"t{k}" for k in range(200)]
    loop = [
        "for(let i=0;i<batch;i++){",
        *(f" const s{k} = {name}[i];" for k, name in enumerate(arrays)),
        *(f" {name}[i] = 2*s{k};" for k, name in enumerate(arrays)),
        "}",
    ]
    form, letters = SharedLoops([], least=1).form(loop, Draft("", {*arrays}, set(), set()))
    arguments = {*letters.values()}
    assert len(arguments) == len(letters) == 201
    assert not arguments & {f"v{k + 1}" for k in range(len(arrays))}
    assert all(f"const v{k + 1} = {letters[name]}[i];" in form for k, name in enumerate(arrays))
