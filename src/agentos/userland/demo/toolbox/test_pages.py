import unittest

from pages import pages


class Pages(unittest.TestCase):
    def test_even_split(self):
        self.assertEqual(pages([1, 2, 3, 4], 2), [[1, 2], [3, 4]])

    def test_short_last_page(self):
        self.assertEqual(pages([1, 2, 3], 2), [[1, 2], [3]])

    def test_one_page(self):
        self.assertEqual(pages([1], 5), [[1]])

    def test_nothing(self):
        self.assertEqual(pages([], 3), [])


if __name__ == "__main__":
    unittest.main()
