"""The one place of the shared options: what a command offers is what its settings declare."""

import dataclasses
import inspect
from typing import Annotated

import pytest

from tinygrad_ce.cli import COMMANDS, Settings, app
from tinygrad_ce.cli.settings import ViewSettings, Without, expand_settings

FIELDS = [field.name for field in dataclasses.fields(Settings)]


def offered(command):
    return {name: p.default for name, p in inspect.signature(expand_settings(command)).parameters.items()}


def test_a_command_offers_every_setting_in_the_order_of_the_dataclass_and_then_its_own_options():
    def command(settings: Settings, extra: int = 3) -> None: ...

    assert [*offered(command)] == [*FIELDS, "extra"]
    assert offered(command)["hidden"] == Settings("moons").hidden


def test_a_setting_that_is_left_out_keeps_its_default():
    received = []

    def command(settings: Annotated[Settings, Without("epochs", "lr")]) -> None:
        received.append(settings)

    assert [*offered(command)] == [name for name in FIELDS if name not in ("epochs", "lr")]
    others = {name: getattr(Settings("moons"), name) for name in FIELDS if name not in ("data", "epochs", "lr", "seed")}
    expand_settings(command)(data="iris", seed=5, **others)
    assert received == [Settings("iris", seed=5)]


def test_the_commands_that_show_one_batch_do_not_train_unless_they_are_asked():
    def command(settings: ViewSettings) -> None: ...

    assert [*offered(command)] == FIELDS
    assert offered(command)["epochs"] == 0


def test_a_command_without_settings_stays_as_it_is():
    def command(clear: bool = False) -> None: ...

    assert expand_settings(command) is command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_no_command_writes_out_a_setting_that_the_dataclass_declares(command):
    own = set(inspect.signature(command).parameters)
    assert own & set(FIELDS) <= ({"seed"} if command.__name__ == "check" else set())


def test_the_commands_are_listed_in_the_order_of_a_lesson():
    names = [registered.callback.__name__ for registered in app.registered_commands]
    assert names[:5] == ["sample", "train", "predict", "evaluate", "report"]
    assert names[5:10] == ["check", "gradients", "explain", "draw", "step"]
    assert names[10:16] == ["live", "source", "exercise", "hint", "unlock", "grade"]
    assert names[16:] == ["cache", "warmup", "selftest"]
