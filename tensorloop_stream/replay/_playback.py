"""The answer of the replay to each request. No I/O."""

from collections import Counter
from dataclasses import dataclass, field

from ._answers import Answer, error_answer
from ._faults import Faults, split_model
from ._http import reason_of
from ._log import Exchange
from ._matching import Key, Recordings, key_of


@dataclass(slots=True)
class Playback:
    """Chooses the answers, and remembers which were played."""

    recordings: Recordings
    faults: Faults
    unmatched: list[str] = field(default_factory=list)
    _played: Counter[Key] = field(default_factory=Counter)
    _failed: Counter[Key] = field(default_factory=Counter)

    def choose(self, exchange: Exchange) -> tuple[Answer, Faults]:
        """Return the answer to a request, and the faults that it is to suffer."""
        request, problem = exchange.request, exchange.problem
        body, faults = request.body, self.faults
        try:
            asked = key = key_of(request.method, request.path, body)
        except ValueError as error:
            return error_answer(400, f"Invalid JSON payload: {error}", param="request_body"), Faults()
        if isinstance(body, dict) and isinstance(model := body.get("model"), str) and "?" in model:
            try:
                model, options = split_model(model)
                faults = faults.changed(options)
            except ValueError as error:
                return error_answer(400, str(error), param="model"), Faults()
            body = {**body, "model": model}
            key = key_of(request.method, request.path, body)
        if faults.fails is not None:
            if self._failed[asked] == faults.fails:
                faults = faults.without_failure()
            else:
                self._failed[asked] += 1
        if faults.status is not None:
            message = f"{faults.status} {reason_of(faults.status)}, as the replay was asked to answer"
            return error_answer(
                faults.status, message, error_type=faults.error_type, retry_after=faults.retry_after
            ), faults
        recorded = self.recordings.matching(key)
        if recorded:
            turn = min(self._played[key], len(recorded) - 1)
            self._played[key] += 1
            return recorded[turn].answer, faults
        if problem is not None:
            return error_answer(400, f"Invalid JSON payload: {problem}", param="request_body"), Faults()
        why = self.recordings.why_none(request.method, request.path, body)
        self.unmatched.append(why)
        return error_answer(404, why), Faults()
