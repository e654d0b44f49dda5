"""The programs that agents run: planner, worker, evaluator, reviewer, gatekeeper."""
