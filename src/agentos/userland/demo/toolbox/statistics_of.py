def median(values):
    """The middle value of a list of numbers; the mean of the two middle ones when their count is even."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle]
