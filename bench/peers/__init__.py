"""Programs of other systems that do what one of our benches does. Each runs in the peers' environment, not in ours, and
prints one JSON object. None imports anything of ours, so that nothing of ours can slow a peer down.
"""
