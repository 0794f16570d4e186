"""The picture of the report in the README is of the page that the template makes."""

from PIL import Image

from tests.benchmarks import report_picture


def test_the_picture_of_the_report_is_of_todays_template():
    with Image.open(report_picture.PICTURE) as picture:
        assert picture.size == report_picture.SIZE
        made_of = picture.info.get(report_picture.KEY)
    assert made_of == report_picture.template_hash(), (
        "docs/report.png is older than the report: dvc repro && python -m tests.benchmarks.report_picture"
    )
