"""Programs that run inside the check's sandbox, under the repository's own Python (3.8 or newer), standard library only.

    together.py   the test runner beside the artifact, in one process: the ordinary run, and the spoiled ones
    apart.py      the test runner alone: tests here, every module of the artifact a proxy over a pipe
    serve.py      the artifact alone: no test, no expected value and no runner within its reach

Rule 1: nothing here imports agentos. These files are bound read-only at /agentos, and know only that folder and /copy.
Rule 2: a record is a line on the real standard output, authenticated with a key that was read and gone before the first
        line of the artifact ran. What the artifact prints goes elsewhere, and would not verify.
Rule 3: these programs judge nothing. They say what happened; the checker outside says what it means.
"""
