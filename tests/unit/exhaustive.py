"""Visit every state that a small model can reach, nearest first, and show the shortest way to the first wrong one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.unit.wake_model import Model, Step
from tests.unit.wake_state import State


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        states: Distinct states visited.
        transitions: Steps and events between them.
        fault: What is wrong; empty if nothing is, in any state that can be reached.
        trace: The way from the initial state to the fault.
    """

    states: int
    transitions: int
    fault: str
    trace: Sequence[Step]

    def __str__(self) -> str:
        lines = [f"{self.states:,} states, {self.transitions:,} transitions: {self.fault or 'no fault'}"]
        for label, worker, state in self.trace:
            lines.append(f"  {worker or ''} {label}\n      {state}")
        return "\n".join(lines)


def explore(model: Model) -> Search:
    """Visit all states of *model*, or those up to the first fault.

    Looked for are states that the model finds fault with, and rounds of steps that need neither time nor an event, so
    that the system need never come to rest.
    """
    first = model.initial()
    came: dict[State, tuple[State, Step] | None] = {first: None}
    onward: dict[State, list[Step]] = {}
    layer, transitions = [first], 0
    while layer:
        following = []
        for state in layer:
            steps = onward[state] = list(model.steps(state))
            fault = model.fault(state, resting=not steps)
            if fault:
                return Search(len(came), transitions, fault, _way(came, state))
            for step in (*steps, *model.events(state, resting=not steps)):
                transitions += 1
                if step[2] not in came:
                    came[step[2]] = (state, step)
                    following.append(step[2])
        layer = following
    circle = _circle(onward)
    if circle:
        way = [*_way(came, circle[-1][2]), *circle]
        return Search(len(came), transitions, "it need not come to rest: the last steps repeat", way)
    return Search(len(came), transitions, "", ())


def _way(came: Mapping[State, tuple[State, Step] | None], state: State) -> list[Step]:
    way = []
    while (before := came[state]) is not None:
        state, step = before
        way.append(step)
    return way[::-1]


def _circle(onward: Mapping[State, Sequence[Step]]) -> list[Step]:
    """The first round of steps that a depth-first walk meets, from a state back to itself; empty if there is none."""
    done: set[State] = set()
    for root in onward:
        path: dict[State, Step | None] = {root: None}
        stack = [(root, iter(onward[root]))]
        while stack:
            state, ways = stack[-1]
            step = next(ways, None)
            if step is None:
                stack.pop()
                path.pop(state)
                done.add(state)
            elif step[2] in path:
                met = list(path)
                round_ = [way for way in (path[s] for s in met[met.index(step[2]) + 1 :]) if way]
                return [*round_, step]
            elif step[2] not in done:
                path[step[2]] = step
                stack.append((step[2], iter(onward[step[2]])))
    return []
