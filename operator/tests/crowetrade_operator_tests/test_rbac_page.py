"""docs/rbac.md says what the chart says."""

from __future__ import annotations

import pytest

from crowetrade_operator_tests import rbac_page

pytestmark = pytest.mark.integration


def test_the_page_is_what_the_chart_renders() -> None:
    assert rbac_page.PATH.read_text() == rbac_page.page(), "run `make rbac-page`"
