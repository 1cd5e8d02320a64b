"""Counts of every prediction, whichever protocol asked for it."""

import asyncio

from models_store.errors import EspalierError
from models_store.models.served import Served
from service import observer
from service.inference.engine import Answer, Engine, Work
from service.metrics import Metrics

CLIENT_LEFT = 499
"""status of a request whose client left before it was answered, as proxies log it"""


class CountedEngine:
    """An engine whose requests are counted by model, version, variant and status."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    async def infer(self, served: Served, work: Work) -> Answer:
        """Return the model's outputs; raises what the engine raises."""
        observed = observer.current.get()
        if observed is not None:
            observed.served = served
        try:
            answer = await self._engine.infer(served, work)
        except EspalierError as error:
            self._metrics.predicted_by(served, error.status)
            raise
        except asyncio.CancelledError:
            self._metrics.predicted_by(served, CLIENT_LEFT)
            raise
        self._metrics.predicted_by(served, 200, answer)
        if observed is not None:
            observed.answer = answer
        return answer
