"""What is wrong with settings, in sentences that name the setting and what would be right."""

from __future__ import annotations

from pydantic_core import ErrorDetails


def sentences(details: ErrorDetails, root: str) -> list[str]:
    """One of pydantic's problems in plain words.

    Args:
        root: what the settings belong to; paths begin with it.
    """
    path = root + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in details["loc"])
    match details["type"]:
        case "missing":
            return [f"{path} is missing."]
        case "extra_forbidden":
            return [f"{path} is not a setting that this version knows."]
        case "value_error":
            return [f"{path}: {line}" for line in str(details["ctx"]["error"]).splitlines()]
        case "model_type":
            return [f"{path} is {details['input']!r:.60}; it should be a mapping of settings."]
    wanted = details["msg"].removeprefix("Input ")
    return [f"{path} is {details['input']!r:.60}; it {wanted}."]
