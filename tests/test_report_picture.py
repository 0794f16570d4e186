"""The pictures of pages in the README and docs/ are of the pages that the templates make."""

import pytest
from PIL import Image

from tests.benchmarks import report_picture


@pytest.mark.parametrize("name", report_picture.PAGES)
def test_the_picture_of_a_page_is_of_todays_template(name):
    with Image.open(report_picture.picture_of(name)) as picture:
        assert picture.size == report_picture.size_of(report_picture.PAGES[name])
        made_of = picture.info.get(report_picture.KEY)
    assert made_of == report_picture.template_hash(name), (
        f"docs/{name}.png is older than its page: dvc repro && python -m tests.benchmarks.report_picture"
    )
