import unittest

from initials import initials


class Initials(unittest.TestCase):
    def test_upper_case_stays(self):
        self.assertEqual(initials("Grace Hopper"), "GH")

    def test_lower_case_is_raised(self):
        self.assertEqual(initials("ada lovelace"), "AL")

    def test_spaces_in_a_row(self):
        self.assertEqual(initials("Alan  Turing"), "AT")

    def test_nothing(self):
        self.assertEqual(initials(""), "")


if __name__ == "__main__":
    unittest.main()
