"""Space of a search: dotted paths into the resolved spec, the values that each takes, and how many trials that makes."""

import copy
import json
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from models_store.spec.contradiction import contradiction
from models_store.spec.explain import explain
from models_store.spec.facts import DatasetFacts
from models_store.spec.network import weights_of
from models_store.spec.recipe import filled
from models_store.spec.search import Distribution, Grid
from models_store.spec.suggestions import key_alike, path_alike

if TYPE_CHECKING:
    from models_store.spec.train import ResolvedSpec

Document = dict[str, Any]
Parameters = dict[str, Any]
"""dotted path → value"""

MOST_TRIALS = 1000
THE_SAME = {
    "task",
    "name",
    "dataset",
    "evaluation",
    "validation",
    "search",
    "compression",
    "export",
}
"""what makes no difference to a trial, which trains and is validated alone"""
HELD = {
    "distillation.teacher": "a teacher",
    "training.monitor": "the figure by which trials are compared",
    "training.budget_minutes": "the time to which one plan for all trials is fitted",
    "training.fit_to_budget": "the list of what may be changed for that",
}


def value_at(document: Document, path: str) -> Any:  # noqa: ANN401  any JSON
    """Return the value of the resolved spec at a path.

    Raises:
        KeyError: with the step that is not there, and what is there instead.
    """
    here: Any = document
    for step in path.split("."):
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isdigit() and int(step) < len(here):
            here = here[int(step)]
        else:
            places = range(len(here)) if isinstance(here, list) else ()
            raise KeyError(step, list(here) if isinstance(here, dict) else [str(place) for place in places])
    return here


def with_values(document: Document, parameters: Parameters) -> Document:
    """Return a spec with values set, whole parts before their fields; the values are not validated."""
    changed = copy.deepcopy(document) | {"search": None, "validation": None}
    for path, value in sorted(parameters.items(), key=lambda item: item[0].count(".")):
        *above, last = path.split(".")
        here: Any = value_at(changed, ".".join(above)) if above else changed
        here[int(last) if isinstance(here, list) else last] = copy.deepcopy(value)
    return changed


def applied(spec: "ResolvedSpec", parameters: Parameters, facts: DatasetFacts) -> Document:
    """Return the spec of one trial: the parent's with values set. What a whole part leaves out, the recipe decides.

    Raises:
        ValidationError: if a value is not allowed at its path.
    """
    trial = spec.asked.model_validate(with_values(spec.model_dump(mode="json"), parameters))
    return filled(spec.asked, trial.model_dump(mode="json"), facts)


def grid_values(distribution: Distribution, *, steps: int) -> list[Any]:
    """Return a choice's values, or `steps` values of a range, including its ends."""
    if distribution.choice is not None:
        return list(distribution.choice)
    shares = [number / (steps - 1) for number in range(steps)]
    if distribution.int_uniform is not None:
        low, high = distribution.int_uniform
        return sorted({round(low + (high - low) * share) for share in shares})
    if distribution.log_uniform is not None:
        start, end = distribution.log_uniform
        inner = [math.exp(math.log(start) + math.log(end / start) * share) for share in shares[1:-1]]
        return [start, *inner, end]
    assert distribution.uniform is not None, "exactly one is given"
    start, end = distribution.uniform
    return [start + (end - start) * share for share in shares]


def values_of(distribution: Distribution) -> tuple[str, list[Any]]:
    """Return a distribution's name, and its choices or the two ends of its range."""
    ((name, values),) = distribution.model_dump(exclude_none=True).items()
    return name, values


def planned(spec: "ResolvedSpec") -> int:
    """Return the number of trials, folds or repeats that a spec asks for; 0 for a single training."""
    if spec.search is not None:
        return 1 + _combinations(spec.search) if isinstance(spec.search, Grid) else spec.search.trials
    if spec.validation is not None:
        return spec.validation.folds if spec.validation.kind == "k_fold" else spec.validation.seeds
    return 0


def refuse_what_cannot_vary(spec: "ResolvedSpec", facts: DatasetFacts) -> None:
    """Check each path of a search, and each end and choice of its values, as if a trial had it.

    Raises:
        PydanticCustomError: of type `contradiction`, pointing below /search/space.
    """
    if spec.search is None:
        return
    document = spec.model_dump(mode="json")
    for path, distribution in spec.search.space.items():
        _refuse_unknown_path(document, path, type(spec))
        _refuse_part_of_another(path, spec.search.space)
        name, values = values_of(distribution)
        if name == "choice":
            _refuse_duplicates(path, values)
        for position, value in enumerate(values):
            changed = with_values(document, {path: value})
            try:
                changed = applied(spec, {path: value}, facts)
                type(spec).model_validate(changed, context=facts)
                _refuse_what_may_move(changed, f"search/space/{path}/{name}/{position}", path=path)
            except ValidationError as error:
                fault = explain(error, type(spec), changed)[0]
                where = f" at {fault['pointer']}" if fault["pointer"] != "/" + path.replace(".", "/") else ""
                message = f"{path} can't be {value!r}: {fault['message']}{where}"
                pointer = f"search/space/{path}/{name}/{position}"
                raise contradiction(pointer, message, fault.get("allowed")) from error
    if planned(spec) > MOST_TRIALS:
        message = f"the grid has {_combinations(spec.search)} combinations; use fewer values, or a random search"
        raise contradiction("search/space", message, {"maximum": MOST_TRIALS - 1})


def _refuse_unknown_path(document: Document, path: str, model: type[BaseModel]) -> None:
    root, pointer = path.partition(".")[0], f"search/space/{path}"
    if root in THE_SAME:
        message = f"{root!r} can't vary: trials only train and evaluate, and are compared by validation"
        raise contradiction(pointer, message, sorted(set(document) - THE_SAME))
    if path in HELD:
        raise contradiction(pointer, f"{path!r} can't vary: it is {HELD[path]}", None)
    try:
        value_at(document, path)
    except KeyError as error:
        step, known = error.args
        near = path_alike(path, model) if step == path else None
        near = near or key_alike(step, known, model)
        there = f"did you mean {near!r}?" if near else f"there is {', '.join(known) or 'nothing'}"
        message = f"the resolved spec has no {step!r} in {path!r}; {there}"
        raise contradiction(pointer, message, known) from error


def _refuse_part_of_another(path: str, space: Collection[str]) -> None:
    """Refuse a path whose meaning depends on other values of a trial."""
    pointer, (part, _, last) = f"search/space/{path}", path.rpartition(".")
    if last == "kind":
        message = f"other kinds have other keys; vary the whole part: `{part}: {{choice: [{{kind: …}}, …]}}`"
        raise contradiction(pointer, message, None)
    above = next((other for other in space if path.startswith(f"{other}.")), None)
    if above is not None:
        message = (
            f"{above!r} varies as a whole, and {path!r} is inside it; write its values into the choices of {above!r}"
        )
        raise contradiction(pointer, message, None)


def _refuse_duplicates(path: str, values: list[Any]) -> None:
    seen: dict[str, int] = {}
    for position, value in enumerate(values):
        first = seen.setdefault(json.dumps(value, sort_keys=True), position)
        if first != position:
            message = f"{value!r} is twice in the choice, here and at {first}"
            raise contradiction(f"search/space/{path}/choice/{position}", message, None)


def _refuse_what_may_move(changed: Document, pointer: str, *, path: str) -> None:
    """Refuse a value that names a model by an alias or without a version: trials begin at different times."""
    part = path.partition(".")[0]
    weights, teacher = weights_of(changed), (changed["distillation"] or {}).get("teacher")
    if part == "backbone" and weights is not None and "@" in weights:
        reference = weights
    elif part == "distillation" and teacher is not None and ":" not in teacher:
        reference = teacher
    else:
        return
    message = f"{reference!r} may refer to different models in different trials; name the version, as in `name:3`"
    raise contradiction(pointer, message, None)


def _combinations(search: Any) -> int:  # noqa: ANN401  a Grid, distinguished by its caller
    return math.prod(len(grid_values(each, steps=search.steps)) for each in search.space.values())
