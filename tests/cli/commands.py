"""Runs a command as a user would, for the tests of this folder."""

from typer.testing import CliRunner

from tinygrad_ce import cli


def invoke(*arguments):
    """The result of a command: its exit code, and what it has printed, as it is."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*arguments):
    """What a command that must succeed has printed, as one line of words."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*arguments):
    """What a command that must fail has said: one line, on the error stream, and exit code 1."""
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def content(folder):
    """All files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
