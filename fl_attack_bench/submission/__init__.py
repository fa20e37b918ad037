"""Records that people hand in: collected into a folder, checked against their suite, and re-run by sample.

A submission is one defense on one suite version and hardware profile, as files that a pull request adds::

    leaderboard/results/<suite>-v<version>/<hardware>/<defense>/
        manifest.json           what it is made of, with the sha256 of each record
        records/<cell id>.json  every cell of the suite under that defense
        verified.json           written by `flab verify`: which cells were re-run

Whether a record can be true is the score's to say. What judges that is handed in, as nothing here knows the score.
"""

from fl_attack_bench.submission.manifest import standing

__all__ = ["standing"]
