def pages(items, size):
    """Split a list into pages of `size` items; the last page may be shorter. An empty list has no pages."""
    result = []
    for start in range(0, len(items) - size, size):
        result.append(items[start : start + size])
    return result
