"""The kernels hold nothing that high-level synthesis cannot turn into hardware."""

from __future__ import annotations

import re
from importlib import resources

import pytest

KERNELS = {
    entry.name: entry.read_text()
    for entry in (resources.files("qvit_hls") / "hls_kernels" / "hls").iterdir()
    if entry.name.endswith(".hpp")
}

FORBIDDEN = {
    "dynamic memory": r"\b(new|delete|malloc|calloc|realloc|free)\b",
    "virtual functions": r"\b(virtual|dynamic_cast|typeid)\b",
    "exceptions": r"\b(throw|try|catch)\b",
    "the standard library": r"\bstd::",
    "system headers": r"#include <(?!ap_int\.h>|hls_stream\.h>|cstdint>|cassert>)",
    "floating point": r"\b(float|double)\b",
    "function pointers": r"\(\*\w+\)\s*\(",
    "goto": r"\bgoto\b",
    "loops without a bound": r"\b(while|for)\s*\((true|1|;;)\)",
    "printing": r"\b(printf|fprintf|puts)\b",
}


def code(text: str) -> str:
    """The text without comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("what", FORBIDDEN)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_do_without(kernel: str, what: str) -> None:
    assert re.findall(FORBIDDEN[what], code(KERNELS[kernel])) == []


FUNCTION = re.compile(r"^[\w:<>&,* ]+?\b(\w+)\([^;{}]*\)\s*(?:const\s*)?\{", flags=re.MULTILINE)


def recursive_functions(text: str) -> list[str]:
    """Names of functions whose body calls a function of the same name."""
    found = []
    for match in FUNCTION.finditer(text):
        name, depth, end = match[1], 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if re.search(rf"\b{name}\s*(<[^;()]*>)?\(", text[match.end() : end]):
            found.append(name)
    return found


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_function_calls_itself(kernel: str) -> None:
    assert recursive_functions(code(KERNELS[kernel])) == []


def test_recursion_would_be_found() -> None:
    assert recursive_functions(
        "template <class C> inline int f(int n) {\n    if (n) return f<C>(n - 1);\n}"
    ) == ["f"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_files_are_guarded_and_say_what_they_are(kernel: str) -> None:
    lines = KERNELS[kernel].splitlines()
    assert lines[0].startswith("// ")
    assert "#pragma once" in lines


@pytest.mark.parametrize("kernel", KERNELS)
def test_assertions_are_for_simulation_alone(kernel: str) -> None:
    outside = re.sub(r"#if !defined\(__SYNTHESIS__\).*?#endif", "", code(KERNELS[kernel]), flags=re.DOTALL)
    assert not re.search(r"\bassert\(|<cassert>", outside)
