"""Wire formats that more than one inference driver speaks. A driver may import these; these import no driver."""
