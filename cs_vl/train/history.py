"""What happened during training."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class History:
    """Every step's loss and metrics, and what `evaluate` said at some of them.

    `steps` counts from 1: after step s, s updates have been made.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)  # on the training batches, one a step
    evaluated_at: list[int] = field(default_factory=list)
    evaluations: dict[str, list[float]] = field(default_factory=dict)  # one for each of `evaluated_at`
    seconds: float = 0.0  # wall time, all sessions of an interrupted run together

    def record(self, step: int, loss: float, metrics: dict[str, float]) -> None:
        self.steps.append(step)
        self.losses.append(loss)
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)

    def record_evaluation(self, step: int, values: dict[str, float]) -> None:
        self.evaluated_at.append(step)
        for name, value in values.items():
            self.evaluations.setdefault(name, []).append(value)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
