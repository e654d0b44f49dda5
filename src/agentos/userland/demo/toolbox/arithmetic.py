def evaluate(text):
    """The value of an expression of integers with + - * /, unary minus and parentheses; / rounds toward zero.

    Anything else is a ValueError whose first argument is the position of the first wrong character.
    """
    return sum(int(part) for part in text.split("+"))
