"""The attacks that come with fl-attack-bench, one file each; the file's name is the method's name."""

if __name__ == "attacks":
    raise ImportError(
        "import fl_attack_bench.attacks instead of attacks: the methods belong to the fl_attack_bench package"
    )
