"""The second composition root: virtual clock, faulty ports, scripted models, seeds, checkers. Ships."""
