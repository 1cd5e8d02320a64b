"""Story of one child job: data → train → evaluate. Nothing is exported, and nothing published.

Its figures go into the job's result. Its answers, example by example, are kept until its parent has compared them, so
that two trials can be compared by a paired test; a trial's weights as well, when the search promotes the winner's.
"""

from models_store.jobs.results import Finished
from workers.stages.context import Work
from workers.stages.data import hold_out, read
from workers.stages.evaluate import answer
from workers.stages.publish import hand_over
from workers.stages.train import train


def run(work: Work) -> Finished:
    """Do the job: every stage in its order."""
    work, data = read(work)
    data = hold_out(data, work.assignment.fold, task=work.spec.task)
    trained = train(work, data.examples)
    answered = answer(work, data, trained.learner)
    return hand_over(work, trained, answered)
