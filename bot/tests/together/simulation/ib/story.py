"""One seed, one story of a grid on a stock; see `..story`."""

from ..story import Story
from .invariants import problems
from .sizes import story_setup
from .world import IbWorld


class StockStory(Story):
    """Tells it; its arguments are those of `Story`."""

    def begin(self, directory):
        setup, seconds = story_setup(self.seed)
        return IbWorld(directory, setup, self._boundaries, self._trace), seconds

    def outcome(self, world):
        return {"problems": problems(world), "judged": 0}
