"""The page in which a network is changed and trained: `tg.live(trainer, dataset)`."""

from tinygrad_ce.live.live import live

__all__ = ["live"]
