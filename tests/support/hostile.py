"""What a careless reader of pickles would run."""


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced
