"""What a person looks at: text, plots, and the search for the first NaN. Everything reads the one recorded graph."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_ce.views.audit import Watch

__all__ = ["Watch"]


def __getattr__(name: str) -> Any:
    """Loaded when it is first asked for: `import tinygrad_ce` needs none of it."""
    if name == "Watch":
        from tinygrad_ce.views.audit import Watch

        return Watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
