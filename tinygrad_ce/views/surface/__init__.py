"""The shape of a loss around the parameters of a model: a map, its curvature, and where a training went on it."""

from tinygrad_ce.views.surface.directions import Route
from tinygrad_ce.views.surface.landscape import Surface, surface

__all__ = ["Route", "Surface", "surface"]
