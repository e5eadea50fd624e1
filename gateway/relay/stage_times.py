"""What a request went through and when: plain numbers, noted as it happens and looked at once it has ended."""

import time

from gateway.telemetry.catalogue import Stage


class StageTimes:
    """The stages in their order, each from its moment to the next one's; times are from ``time.monotonic()``.

    A request may come back to a stage: when another engine is asked, or when the audit log is waited for in between.
    """

    __slots__ = ("began_s", "body_bytes", "ended_s", "stages")

    def __init__(self) -> None:
        self.began_s = self.ended_s = time.monotonic()
        self.stages: list[tuple[Stage, float]] = [(Stage.AUTH, self.began_s)]
        self.body_bytes = 0

    @property
    def stage(self) -> Stage:
        """The one that goes on."""
        return self.stages[-1][0]

    def enter(self, stage: Stage) -> None:
        """The stage before ends here."""
        self.stages.append((stage, time.monotonic()))

    def end(self) -> None:
        self.ended_s = time.monotonic()
