"""checkov finds nothing in the templates that infra/checkov.yaml does not answer in a sentence."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from configurations import EVERYTHING, IN_A_NETWORK_OF_ONES_OWN
from templates import EDGE_TEMPLATE, REPOSITORY, SAM_TEMPLATE, decided, expanded_sam_template

CONFIG = REPOSITORY / "infra" / "checkov.yaml"
CHECKOV = Path(__file__).parent / "checkov" / ".venv" / "bin" / "checkov"

# As little as there can be, so that each optional thing is missing; and everything.
CONFIGURATIONS: dict[str, Mapping[str, str]] = {
    "little": {"AlarmEmail": "ops@example.com"},
    "everything": EVERYTHING,
    "in a network of one's own": IN_A_NETWORK_OF_ONES_OWN,
}
# What everything still leaves, for the same reasons.
LEFT = {
    "CKV_AWS_111",
    "CKV_AWS_116",
    "CKV_AWS_119",
    "CKV_AWS_120",
    "CKV_AWS_149",
    "CKV_AWS_173",
    "CKV_AWS_192",
    "CKV_AWS_86",
}
# Only of the function at CloudFront's edge.
LEFT_AT_THE_EDGE = {"CKV_AWS_115", "CKV_AWS_117"}


def answers() -> dict[str, str]:
    """The config's reasons, by check."""
    found = re.findall(r"((?:  # .*\n)+)  - (CKV\w+)", CONFIG.read_text())
    return {check: " ".join(line.strip(" #") for line in lines.splitlines()) for lines, check in found}


def checkov(template: Path, *flags: str | Path) -> subprocess.CompletedProcess[str]:
    # It works without network: nothing listens at the proxy.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    with TemporaryDirectory() as home:
        return subprocess.run(
            [CHECKOV, "--file", template, *flags],
            cwd=home,
            env={"PATH": "/usr/bin:/bin", "HOME": home, **nowhere},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


@cache
def findings(template: Path) -> dict[str, set[str]]:
    """The resources that fail each check, without any answer."""
    flags = "--framework cloudformation --skip-download --quiet --compact --output json".split()
    done = checkov(template, *flags)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, set[str]] = {}
    for failed in json.loads(done.stdout)["results"]["failed_checks"]:
        found.setdefault(failed["check_id"], set()).add(failed["resource"].rpartition(".")[2])
    return found


@pytest.fixture(scope="session")
def decided_sam(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The template with a configuration's conditions decided: checkov does not evaluate conditions."""
    folder = tmp_path_factory.mktemp("checkov")

    @cache
    def write(configuration: str) -> Path:
        parameters = CONFIGURATIONS[configuration]
        path = folder / f"{configuration}.json"
        path.write_text(json.dumps(decided(expanded_sam_template(parameters), parameters)))
        return path

    return write


@pytest.mark.parametrize("template", [SAM_TEMPLATE, EDGE_TEMPLATE], ids=lambda template: template.name)
def test_checkov_finds_nothing_in_the_templates_that_is_not_answered(template: Path) -> None:
    """As an operator runs it."""
    done = checkov(template, "--config-file", CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_checkov_finds_nothing_in_a_configuration_that_is_not_answered(
    decided_sam: Callable[[str], Path], configuration: str
) -> None:
    assert findings(decided_sam(configuration)).keys() - answers().keys() == set()


def test_checkov_finds_nothing_in_the_cdks_template_that_is_not_answered(
    cdk_template: Callable[[str], tuple[dict[str, Any], Path]],
) -> None:
    """Its conditions are decided, but for those of the region."""
    _, synthesis = cdk_template("everything")
    assert findings(synthesis / "deputize.template.json").keys() - answers().keys() == set()


def test_each_answer_is_a_sentence_and_to_something_that_is_found(decided_sam: Callable[[str], Path]) -> None:
    given = answers()
    assert all(len(reason.split()) > 8 and reason.endswith(".") for reason in given.values())
    found = [findings(decided_sam(configuration)).keys() for configuration in CONFIGURATIONS]
    assert given.keys() == set().union(*found)
    assert CONFIG.read_text().count("- CKV") == len(given)


def test_what_is_answered_by_a_parameter_is_not_found_once_it_is_set(decided_sam: Callable[[str], Path]) -> None:
    found = findings(decided_sam("everything"))
    assert found.keys() == LEFT | LEFT_AT_THE_EDGE
    for check in LEFT_AT_THE_EDGE:
        assert found[check] == {"EdgeFunction"}, check
