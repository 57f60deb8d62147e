"""The page of `step_through`: its numbers as programs that the browser runs, and its script in pieces."""
