"""Prometheus' rules for names and labels, as `promtool check metrics` and its documentation have
them, applied to declared metrics and to what a program serves."""

import re
from collections.abc import Collection, Iterable

from gridbase.metrics import Kind, Metric
from prometheus_client.parser import text_string_to_metric_families

# Units that are not base units, and abbreviations of those that are.
WRONG_UNITS = {
    "milliseconds", "ms", "microseconds", "minutes", "hours", "days", "kilobytes", "kb", "mb",
    "megabytes", "gigabytes", "percent", "celcius", "fahrenheit", "secs", "sec",
}  # fmt: skip
RESERVED = ("_count", "_sum", "_bucket")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# What a label must never hold: an order's ID, an address, text for people.
FREE_TEXT = re.compile(r"\s\S+\s|://|-[0-9a-z]+-\d+[a-z]\d+")


def problems(metrics: Iterable[Metric], prefix: str) -> list[str]:
    """What is wrong with declared metrics; empty where nothing is."""
    found, seen = [], set()
    for one in metrics:
        name, words = one.name, set(one.name.split("_"))
        wrong = {
            "is declared twice": name in seen,
            f"does not begin with {prefix}_": not name.startswith(f"{prefix}_"),
            "needs lower case words with _ between": NAME.fullmatch(name) is None,
            "has no help": not one.help.strip(),
            "has a unit that is no base unit": bool(words & WRONG_UNITS),
            "ends as a part of a histogram does": name.endswith(RESERVED),
            "is a counter and needs _total": one.kind is Kind.COUNTER
            and not name.endswith("_total"),
            "is no counter and has _total": one.kind is not Kind.COUNTER
            and name.endswith("_total"),
            "names its kind": bool(words & {"gauge", "counter", "histogram"}),
            "is a histogram and needs its unit": one.kind is Kind.HISTOGRAM
            and not name.endswith(("_seconds", "_bytes")),
            "has a label that is reserved": bool({"le", "quantile"} & set(one.labels)),
            "has a label that is no name": not all(map(NAME.fullmatch, one.labels)),
            "says by which label it is divided": "by" in words,
        }
        found += [f"{name} {text}" for text, is_so in wrong.items() if is_so]
        seen.add(name)
    return found


def served_problems(
    text: str, metrics: Iterable[Metric], bounded: dict[str, Collection[str]], most: int
) -> list[str]:
    """What is wrong with what a program serves.

    Args:
        text: in Prometheus' format.
        metrics: as declared.
        bounded: the values that a label may have.
        most: series of one metric.
    """
    declared = {one.name.removesuffix("_total"): one for one in metrics}
    found = []
    for family in text_string_to_metric_families(text):
        one = declared.get(family.name)
        if one is None:
            found.append(f"{family.name} is not declared")
            continue
        if family.type != one.kind or family.documentation != one.help:
            found.append(f"{family.name} is served otherwise than declared")
        if len(family.samples) > most:
            found.append(f"{family.name} has {len(family.samples)} series")
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            if sorted(labels) != sorted(one.labels):
                found.append(f"{sample.name} has the labels {', '.join(labels)}")
            for label, value in labels.items():
                if label in bounded and value not in bounded[label]:
                    found.append(f'{sample.name} has {label}="{value}"')
                if FREE_TEXT.search(value):
                    found.append(f'{sample.name} has free text: {label}="{value}"')
    return found
