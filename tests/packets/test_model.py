"""Whatever packets come in whatever order, and whatever is changed meanwhile: the data plane does as its model does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.packets.model.draw import Story, stories
from tests.packets.model.world import World, clear, furnish
from tests.packets.plane import Plane

pytestmark = pytest.mark.root

STORIES = 60
TC = {f"{verdict} by tc" for verdict in ("pass", "sent", "held", "no_server", "too_big", "ttl_exceeded", "fragment")}
WANTED = {
    "tc": TC | {"server_deleted by tc"},
    "xdp": TC | {"sent by xdp", "server_deleted by xdp"},
}
"""What must have happened at least once, so that the stories tell something."""


@pytest.fixture(scope="module")
def standing(loaded: Plane) -> Iterator[Plane]:
    """With IPv6 on the wire."""
    furnish()
    yield loaded
    loaded.reset()
    clear()


def play(world: World, story: Story) -> None:
    """All of a story, compared after each of its steps."""
    world.serve(story.services())
    world.set_knobs(expire_nodest=story.expire_nodest, expire_quiescent=story.expire_quiescent)
    for action in story.all_actions():
        action.play(world)
        world.check()
    world.check_end()


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_the_data_plane_and_its_model(hook: str, standing: Plane) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=STORIES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(stories)
    def run(story: Story) -> None:
        world = World(standing, hook)
        play(world, story)
        seen.update(world.seen)

    run()
    assert not WANTED[hook] - set(seen), "the stories have become too dull"
