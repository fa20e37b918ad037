"""The defenses that come with fl-attack-bench, one file each; the file's name is the method's name."""

if __name__ == "defenses":
    raise ImportError(
        "import fl_attack_bench.defenses instead of defenses: the methods belong to the fl_attack_bench package"
    )
