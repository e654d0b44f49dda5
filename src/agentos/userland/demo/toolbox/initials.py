def initials(name):
    """The first letters of the words of a name, in upper case: "ada lovelace" gives "AL"."""
    return "".join(word[0] for word in name.split(" "))
