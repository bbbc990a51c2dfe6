"""What the ablations found, over all seeds: tables and a picture."""

from __future__ import annotations

import io
import statistics
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

#: Mean and standard deviation by kind (a row) and measure (a column).
Summary = dict[str, dict[str, dict[str, float]]]

_TITLES = {
    "precision": "A network trained in float, quantized, and tuned: test accuracy",
    "layer_scale": "Supernet with and without layer scale: test accuracy",
    "entanglement": "Networks of a supernet, tuned or as they are, and trained alone: test accuracy",
    "mixed_rows": "Mixed rows, and 4-bit and 8-bit rows only, under the same limits: test accuracy, tuned",
    "search_methods": "Searches of as many trials: best validation accuracy under each limit, hypervolume",
    "ranks": "Rank correlation of inherited and tuned test accuracy",
}


def summary(found: list[dict[str, Any]]) -> Summary:
    """Mean and sample standard deviation over the seeds, of everything that is one number for each."""
    return {
        kind: {
            measure: {
                "mean": statistics.fmean(numbers := [result[kind][measure] for result in found]),
                "std": statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
            }
            for measure, value in values.items()
            if isinstance(value, float)
        }
        for kind, values in found[0].items()
        if isinstance(values, dict) and any(isinstance(value, float) for value in values.values())
    }


def tables(summaries: dict[str, Summary]) -> list[Table]:
    """A table for each ablation; accuracies in percent."""
    result = []
    for name, kinds in summaries.items():
        table = Table(title=_TITLES[name], box=SIMPLE)
        measures = list(next(iter(kinds.values())))
        for heading in ("", *measures):
            table.add_column(heading, justify="right" if heading else "left")
        for kind, values in kinds.items():
            table.add_row(kind, *(_shown(name, kind, measure, values[measure]) for measure in measures))
        result.append(table)
    return result


def _shown(study: str, kind: str, measure: str, value: dict[str, float]) -> str:
    mean, std = value["mean"], value["std"]
    sign = "+" if " - " in kind else ""
    if study == "ranks":
        return f"{mean:{sign}.2f} ± {std:.2f}"
    if measure == "hypervolume":
        return f"{mean:{sign},.0f} ± {std:,.0f}"
    return f"{mean * 100:{sign}.2f} ± {std * 100:.2f}"


def pictures(found: dict[str, list[dict[str, Any]]], summaries: dict[str, Summary]) -> bytes:
    """One picture of all ablations, as PNG: points are seeds, bars are means."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    bars = {
        "precision": (axes[0, 0], "precision"),
        "layer_scale": (axes[0, 1], "layer scale"),
        "entanglement": (axes[0, 2], "shared weights"),
        "mixed_rows": (axes[1, 0], "rows"),
    }
    for name, (axis, title) in bars.items():
        kinds = [kind for kind in summaries[name] if " - " not in kind]
        measures = list(summaries[name][kinds[0]])
        width = 0.8 / len(kinds)
        for index, kind in enumerate(kinds):
            places = [place + (index - (len(kinds) - 1) / 2) * width for place in range(len(measures))]
            means = [100 * summaries[name][kind][measure]["mean"] for measure in measures]
            axis.bar(places, means, width * 0.9, label=kind, alpha=0.6)
            for result in found[name]:
                axis.plot(places, [100 * result[kind][m] for m in measures], "k.", markersize=4)
        axis.set_xticks(range(len(measures)), measures, fontsize=8)
        lowest = min(100 * r[kind][m] for r in found[name] for kind in kinds for m in measures)
        axis.set_ylim(bottom=max(0.0, lowest - 5))
        axis.set_ylabel("test accuracy, %")
        axis.legend(fontsize=8, loc="lower right")
        axis.set_title(title)
    curves = axes[1, 1]
    for index, method in enumerate(found["search_methods"][0]["progress"]):
        for seed, result in enumerate(found["search_methods"]):
            points = result["progress"][method]
            label = method if seed == 0 else None
            curves.plot(*zip(*points, strict=True), color=f"C{index}", label=label, linewidth=1)
    curves.set_xlabel("trials")
    curves.set_ylabel("hypervolume")
    curves.legend(fontsize=8)
    curves.set_title("search methods, a line for each seed")
    ranks = axes[1, 2]
    for seed, result in enumerate(found["ranks"]):
        inherited, tuned = ([100 * share for share in result[key]] for key in ("inherited", "tuned"))
        ranks.plot(inherited, tuned, "o", markersize=4, color=f"C{seed}")
    ranks.set_xlabel("inherited test accuracy, %")
    ranks.set_ylabel("tuned test accuracy, %")
    ranks.set_title("inherited and tuned, a colour for each seed")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return content.getvalue()
