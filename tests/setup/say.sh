# How the set-up talks: one line for each step that takes time, one clear message where it cannot go on.

say() {
    printf 'setup: %s\n' "$*" >&2
}

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
