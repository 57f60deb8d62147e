"""The assignments that come with the package, as teachers write them."""
