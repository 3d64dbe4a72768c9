"""What the best single site reaches alone: the same job, there only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from skep.client import Client
from skep.errors import SkepError
from skep.model.job import ChipRequest, Job, Span
from skep.model.views import JobDetail
from skep.web.figures import Figures, figures
from skep.web.story import Story

SECONDS = "TRAIN_SECONDS"
"""Variable by which the script learns for how long to train, so that both take the same time."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One site alone; ``wall_s`` is how long its processes ran."""

    job: str
    site: str
    chips: int
    heldout: float | None
    last_loss: float | None
    wall_s: float
    tokens: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def alone_spec(job: JobDetail, told: Figures) -> Job:
    """The same job on the chips of its strongest site: so that sites fit which have as many.

    Raises ``SkepError`` where the job ran at one site only.
    """
    if len(told.sites) < 2:
        raise SkepError(f"job {job.name} ran at one site only: there is nothing to compare")
    best = max(told.sites, key=lambda site: (site.tokens, site.chips))
    seconds = max(site.trained_s for site in told.sites)
    changes = {
        "name": f"{job.spec.name[:57]}-alone",
        "chips": (ChipRequest(kind=best.chip, count=best.chips),),
        "span": Span(),
        "elastic": None,
        "env": job.spec.env | {SECONDS: f"{seconds:.1f}"},
    }
    return job.spec.model_copy(update=changes)


def compare(
    client: Client,
    job: JobDetail,
    told: Figures,
    user: str,
    attend: Callable[[Client, JobDetail], Story],
) -> tuple[Comparison, Story]:
    """Run the job at its strongest site alone. ``attend`` follows a job to its end."""
    story = attend(client, client.submit(alone_spec(job, told), user))
    alone = figures(story, story.job.ended_at or 0.0)
    if story.job.phase != "succeeded":
        raise SkepError(f"{story.job.name} {story.job.phase}: {story.job.reason}")
    best = alone.sites[0]
    return (
        Comparison(
            job=story.job.id,
            site=best.site,
            chips=best.chips,
            heldout=alone.heldout_last,
            last_loss=alone.last_loss,
            wall_s=alone.wall_s,
            tokens=alone.tokens,
        ),
        story,
    )
