"""Which checkpoints of a run stay on disk: the last ones, and the best by validation."""

import json
import math
from pathlib import Path

from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.runs.run_dir import iter_name, saved_steps


class KeptCheckpoints:
    """The folder `checkpoints` of a run, with `best.json` naming the step whose validation was the best so far."""

    def __init__(self, run: Path, keep_last: int = 0) -> None:
        """`keep_last` 0 keeps everything that was saved at regular steps."""
        self._run, self._keep_last = run, keep_last
        self._record = run / "checkpoints" / "best.json"

    def path(self, step: int) -> Path:
        return self._run / "checkpoints" / f"{iter_name(step)}.pt"

    def is_best(self, value: float) -> bool:
        """Whether a validation result is better (smaller) than all before."""
        return math.isfinite(value) and value < self._best().get("value", math.inf)

    def set_best(self, step: int, value: float, regular: bool) -> None:
        """Record the best step, whose checkpoint exists. `regular`: it would have been saved in any case."""
        before = self._best()
        write_text(self._record, json.dumps({"step": step, "value": value, "regular": regular}) + "\n")
        if before and not before["regular"] and before["step"] != step:
            self.path(before["step"]).unlink(missing_ok=True)

    def prune(self) -> None:
        """Delete all but the last `keep_last`, and the best."""
        if self._keep_last > 0:
            best = self._best().get("step")
            for step in sorted(saved_steps(self._run))[: -self._keep_last]:
                if step != best:
                    self.path(step).unlink(missing_ok=True)

    def _best(self) -> dict:
        """Step, value and regularity of the best so far; {} if there is none, or the record is damaged."""
        try:
            record = read_json(self._record)
            return {"step": int(record["step"]), "value": float(record["value"]), "regular": bool(record["regular"])}
        except (UserError, KeyError, TypeError, ValueError, OverflowError):
            return {}
