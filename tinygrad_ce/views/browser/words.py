"""The words of the field, each with the one line that explains it (words.json), and the script that links them."""

from tinygrad_ce.report.page import file_text

ROOM = "tinygrad_ce.views.browser"


def words_script() -> str:
    """The script of a page that explains words: what they mean, and `explained(text, seen)`, which links them.

    >>> words_script().startswith("const WORDS = {")
    True
    """
    return f"const WORDS = {file_text(ROOM, 'words.json')};\n{file_text(ROOM, 'words.js')}"
