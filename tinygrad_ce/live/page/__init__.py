"""The script of the live page, in pieces: they are joined in the order of `live.live.SCRIPTS`, without modules."""
