"""What a person looks at: text, plots, and the search for the first NaN. Everything reads the one recorded graph."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_ce.views.audit import Watch
    from tinygrad_ce.views.surface import Route

__all__ = ["Route", "Watch"]

_LATER = {"Route": "surface", "Watch": "audit"}


def __getattr__(name: str) -> Any:
    """Loaded when it is first asked for: `import tinygrad_ce` needs none of it."""
    if name in _LATER:
        return getattr(import_module(f"tinygrad_ce.views.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
