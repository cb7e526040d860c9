"""The answer of the replay to each request. No I/O."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._answers import Answer, error_answer
from ._bodies import Key, key_of
from ._faults import Faults, split_model
from ._http import reason_of
from ._improvise.improvise import fall_back, full_path, improvise
from ._log import Exchange, ReceivedRequest
from ._matching import Recordings


@dataclass(slots=True)
class Playback:
    """Chooses the answers, and remembers which were played."""

    recordings: Recordings
    faults: Faults
    strict: bool = True
    """Whether a request that nobody recorded gets a 404 rather than the answer to another one."""
    fallback: Recordings | None = None
    """The answer to each request of its kind."""
    report: Callable[[str], None] | None = None
    """Is called with a line about each request and its answer."""
    unmatched: list[str] = field(default_factory=list)
    _played: Counter[tuple[int, ...]] = field(default_factory=Counter)
    _failed: Counter[Key] = field(default_factory=Counter)
    # The faults that changed an answer, and a sentence for each that perhaps, or surely, did not change one.
    _effective: set[str] = field(default_factory=set)
    _late: dict[str, str] = field(default_factory=dict)
    _unused: dict[str, str] = field(default_factory=dict)

    def choose(self, exchange: Exchange) -> tuple[Answer, Faults]:
        """Return the answer to a request, and the faults that it is to suffer."""
        request = exchange.request
        answer, faults, source = self._choose(request, exchange.problem)
        if self.report is not None:
            fault, after = faults.ending
            if fault and answer.frames is not None:
                source += f"; {fault}={after}"
            model = request.body.get("model") if isinstance(request.body, dict) else None
            self.report(f"{request.method} {request.path}{f' {model}' if model else ''}: {' '.join(source.split())}")
        return answer, faults

    def note_fault(self, exchange: Exchange, faults: Faults, answer: Answer) -> None:
        """Note whether a fault changed an answer whose events are sent, up to the fault.

        A test whose fault changed nothing looks like a test of a program that copes with it.
        """
        name, allowed = faults.ending
        if allowed is None:
            return
        fault = f"{name}={allowed}"
        if (sentence := _unused(exchange.events, name, allowed, answer)) is not None:
            self._unused[fault] = sentence
        elif (sentence := _late(name, allowed, answer)) is not None:
            self._late[fault] = sentence
        else:
            self._effective.add(fault)
        if sentence is not None and self.report is not None:
            self.report(sentence)

    @property
    def unused_faults(self) -> list[str]:
        """One sentence per fault that changed no answer."""
        changed = self._effective | self._late.keys()
        return [sentence for fault, sentence in self._unused.items() if fault not in changed]

    @property
    def late_faults(self) -> list[str]:
        """One sentence per fault that came so late that many clients do not notice it."""
        return [sentence for fault, sentence in self._late.items() if fault not in self._effective]

    def _choose(self, request: ReceivedRequest, problem: str | None) -> tuple[Answer, Faults, str]:
        body, faults = request.body, self.faults
        try:
            asked = key_of(request.method, request.path, body)
        except ValueError as error:
            return _refused(f"Invalid JSON payload: {error}", "request_body")
        if isinstance(body, dict) and isinstance(model := body.get("model"), str) and "?" in model:
            try:
                model, options = split_model(model)
                faults = faults.changed(options)
            except ValueError as error:
                return _refused(str(error), "model")
            body = {**body, "model": model}
        if faults.fails is not None:
            if self._failed[asked] == faults.fails:
                faults = faults.without_failure()
            else:
                self._failed[asked] += 1
        if faults.status is not None:
            message = f"{faults.status} {reason_of(faults.status)}, as the replay was asked to answer"
            answer = error_answer(faults.status, message, error_type=faults.error_type, retry_after=faults.retry_after)
            return answer, faults, message
        if (found := self._found(request.method, request.path, body, is_json=problem is None)) is not None:
            return found[0], faults, found[1]
        if problem is not None:
            return _refused(f"Invalid JSON payload: {problem}", "request_body")
        on_screen, why = self.recordings.why_none(request.method, request.path, body)
        self.unmatched.append(why)
        return error_answer(404, on_screen), Faults(), f"404: {why}"

    def _found(self, method: str, path: str, body: Any, *, is_json: bool) -> tuple[Answer, str] | None:
        """Return the recorded answer, else an improvised one, each with its source in words; `None` if none may be."""
        if not self.strict and not self.recordings.at(method, path):
            path = full_path(path)
        if recorded := self.recordings.matching(method, path, body):
            turns = tuple(map(id, recorded))
            turn = min(self._played[turns], len(recorded) - 1)
            self._played[turns] += 1
            return recorded[turn].answer, f"recorded in {recorded[turn].file}"
        found = None
        if is_json and self.fallback is not None:
            found = fall_back(self.fallback, method, path, body)
        if is_json and found is None and not self.strict:
            found = improvise(self.recordings, method, path, body)
            if found is not None and found.answer.status == 404:
                self.unmatched.append(found.source)
        return None if found is None else (found.answer, found.source)


def _refused(message: str, param: str) -> tuple[Answer, Faults, str]:
    return error_answer(400, message, param=param), Faults(), f"400: {message}"


def _unused(events: int, name: str, allowed: int, answer: Answer) -> str | None:
    """Return a sentence if a fault after so many events changed nothing, for the answer had ended before it."""
    if answer.frames is None:
        return f"the answer is no event stream, so {name}={allowed} changed nothing"
    had = f"{events} event{'s' * (events != 1)}"
    if events < allowed:
        return f"the answer had {had}, so {name}={allowed} changed nothing"
    if events < answer.events:
        return None
    if answer.ends_with_done:
        return f"the answer had {had}, [DONE] the last, so {name}={allowed} changed nothing"
    if name == "end-after" and not answer.is_cut:
        return f"the answer had {had}, so {name}={allowed} changed nothing"
    return None


def _late(name: str, allowed: int, answer: Answer) -> str | None:
    """Return a sentence if a fault left out nothing that a client of the API must wait for."""
    if allowed == answer.events:
        return f"{name}={allowed} came after the last event, where a client may have stopped"
    if name == "end-after" and allowed == answer.events - 1 and answer.ends_with_done:
        return f"{name}={allowed} left out [DONE] alone: an answer with a finish_reason is whole without it"
    return None
