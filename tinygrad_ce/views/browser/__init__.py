"""Pieces that every page of ours shares in the browser: numbers as text, arrays, phases and their colours."""
