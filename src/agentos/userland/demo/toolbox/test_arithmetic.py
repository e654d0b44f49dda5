import unittest

from arithmetic import evaluate


class Evaluate(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(evaluate("1 + 2"), 3)

    def test_precedence(self):
        self.assertEqual(evaluate("2 + 3 * 4"), 14)

    def test_parentheses_and_unary_minus(self):
        self.assertEqual(evaluate("-(2 - 5) * 3"), 9)

    def test_division_rounds_toward_zero(self):
        self.assertEqual(evaluate("-7 / 2"), -3)

    def test_names_the_wrong_character(self):
        with self.assertRaises(ValueError) as caught:
            evaluate("2 + x")
        self.assertEqual(caught.exception.args[0], 4)


if __name__ == "__main__":
    unittest.main()
