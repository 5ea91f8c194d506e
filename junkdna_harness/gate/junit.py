"""The outcome of the gate for the dashboards of CI."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from junkdna_harness.gate.policy import Verdict
from junkdna_harness.gate.rule import Gate
from junkdna_harness.gate.words import of_comparison, score, worst_first
from junkdna_harness.presentation.escape import one_line

# Characters that XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(gate: Gate, inconclusive_fails: bool) -> str:
    """One test case per comparison and one for each missing thing, the worst first.

    A critical comparison that is inconclusive is skipped, or fails if that is asked; an advisory one that did not pass is skipped.
    """
    cases = [_case("missing", item, "fail", f"missing from the new run: {item}") for item in gate.missing]
    for one in worst_first(gate.comparisons, gate.alpha):
        counts = one.counts_as
        if one.severity == "advisory":
            counts = "pass" if one.verdict == "pass" else "inconclusive"
        elif counts == "inconclusive" and inconclusive_fails:
            counts = "fail"
        name = f"{one.name} ({one.metric})" + (" (advisory)" if one.severity == "advisory" else "")
        message = of_comparison(one, gate.alpha)
        if one.severity == "advisory":
            message = f"advisory, {one.verdict}: {message}"
        cases.append(_case(one.scope, name, counts, message))
    for text in gate.text:
        counts = text.counts_as if text.severity == "critical" or text.counts_as == "pass" else "inconclusive"
        if counts == "inconclusive" and inconclusive_fails and text.severity == "critical":
            counts = "fail"
        cases.append(
            _case("text", text.name, counts, f"{text.name}: {score(text.value)}, limit {text.limit:g}")
        )
    counted = {tag: sum(case.find(tag) is not None for case in cases) for tag in ("failure", "skipped")}
    suite = ET.Element(
        "testsuite",
        name="junkdna check",
        tests=str(len(cases)),
        failures=str(counted["failure"]),
        errors="0",
        skipped=str(counted["skipped"]),
    )
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(scope: str, name: str, counts: Verdict, message: str) -> ET.Element:
    case = ET.Element("testcase", classname=_xml(f"junkdna.{scope}"), name=_xml(name))
    if counts != "pass":
        ET.SubElement(case, "failure" if counts == "fail" else "skipped", message=_xml(message))
    return case


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", one_line(text))
