import unittest

from roman import roman


class Roman(unittest.TestCase):
    def test_additive(self):
        self.assertEqual(roman(2763), "MMDCCLXIII")

    def test_four(self):
        self.assertEqual(roman(4), "IV")

    def test_ninety(self):
        self.assertEqual(roman(90), "XC")

    def test_largest(self):
        self.assertEqual(roman(3999), "MMMCMXCIX")


if __name__ == "__main__":
    unittest.main()
