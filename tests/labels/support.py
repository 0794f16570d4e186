"""Empty files, for tests of code that looks at names alone."""


def touch(folder, *names):
    """Makes empty files; `{0..9}` in a name stands for ten of them."""
    for name in names:
        for number in range(10) if "{0..9}" in name else [0]:
            path = folder / name.replace("{0..9}", str(number))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder
