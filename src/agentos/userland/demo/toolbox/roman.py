def roman(number):
    """The Roman numeral of a number from 1 to 3999."""
    numerals = [(1000, "M"), (500, "D"), (100, "C"), (50, "L"), (10, "X"), (5, "V"), (1, "I")]
    text = ""
    for value, letter in numerals:
        while number >= value:
            text += letter
            number -= value
    return text
