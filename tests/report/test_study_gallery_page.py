"""The gallery of a study's clips in a real browser: sorting, filtering, links to clips, both schemes and paper."""

import re

import pytest
from shown_report import DESKTOP, DOWN, HOSTILE, PHONE, SMALL_PHONE, TAB, faults, focused, sticking_out
from studies import record

from lrp3d import study


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a study of 60 clips, two of which have pages of their own."""
    return page_of(60, tmp_path_factory.mktemp("study"))


def page_of(count, folder):
    """The page of a study of some clips."""
    for number in (3, 17):
        (folder / f"pages/clip {number}").mkdir(parents=True)
        (folder / f"pages/clip {number}/report.html").write_text("<!doctype html><title>its page</title>")
    records = [record(i, i % 12, 12, 8, reach=0.4 + i % 12 / 8, right=i * 31 % 7 > 0) for i in range(count)]
    labels = [HOSTILE, *(f"doing {i}" for i in range(1, 12))]
    summary = study.summarise(records, config={"model": "I3D", "dataset": "d", "frames": 8}, labels=labels)
    report = study.report([("one", summary)], clips=[records], pages=folder / "pages")
    return list(report.write(folder / "report"))[-1]


def clips(window):
    """The numbers of the clips that a reader sees, and what stands for those between."""
    found = window.run("return [...document.querySelectorAll('.clips li')].map((one) => one.id || one.textContent)")
    return [int(one.rpartition("-")[2]) if one.startswith("clips-") else one for one in found]


def values(window, name):
    script = f"return [...document.querySelectorAll('.clips li[id]')].map((one) => Number(one.dataset['{name}']))"
    return window.run(script)


def choose(window, place, value):
    window.run(
        f"const one = document.querySelectorAll('.choice select')[{place}];"
        f"one.value = '{value}'; one.dispatchEvent(new Event('change'))"
    )


def follow(window, address):
    window.run(f"document.querySelector('table a[href=\"{address}\"]').click()")
    window.run("return new Promise((done) => setTimeout(done, 50))")


def test_both_ends_are_shown_first_and_the_rest_on_demand(opened, written):
    window = opened(written)
    assert clips(window)[12] == "… 36 clips between, in this order"
    assert len(clips(window)) == 25
    assert window.text(".choice [role=status]") == "24 of 60 clips shown"
    window.click(".gallery .unfold")
    assert sorted(clips(window)) == list(range(60))
    assert window.text(".choice [role=status]") == "60 of 60 clips shown"
    window.click(".gallery .unfold")
    assert len(clips(window)) == 25


@pytest.mark.parametrize(("order", "name"), [("logit", "logit"), ("avg-ATR", "avg"), ("max-ATR", "max")])
def test_clips_are_sorted_from_the_greatest_by_the_chosen_number(opened, written, order, name):
    window = opened(written)
    choose(window, 0, order)
    window.click(".gallery .unfold")
    assert values(window, name) == sorted(values(window, name), reverse=True)


def test_clips_are_sorted_by_whether_they_are_predicted_correctly_and_then_by_logit(opened, written):
    window = opened(written)
    choose(window, 0, "correct")
    window.click(".gallery .unfold")
    pairs = list(zip(values(window, "right"), values(window, "logit"), strict=True))
    assert pairs == sorted(pairs, reverse=True)
    assert {right for right, _ in pairs} == {0, 1}


def test_the_gallery_is_sorted_and_filtered_by_the_keyboard_alone(opened, written):
    window = opened(written)
    window.run("document.querySelector('.choice select').focus()")
    first = clips(window)[0]
    window.press(DOWN)
    window.press(DOWN)
    assert window.run("return document.activeElement.value") == "avg-ATR"
    assert clips(window)[0] != first
    window.press(TAB)
    window.press(DOWN)
    assert len(clips(window)) == 5
    window.press(TAB)
    assert window.run("return document.activeElement.options[0].textContent") == "correctly or not"
    window.press(TAB)  # on to the page of a clip, where it has one, or to what follows
    assert not window.run("return document.activeElement.matches('.clips li')")


def test_a_row_of_a_class_leads_to_the_clips_of_that_class(opened, written):
    window = opened(written)
    choose(window, 2, "0")
    follow(window, "#clips-1-class-5")
    assert sorted(clips(window)) == [5, 17, 29, 41, 53]
    assert window.run("return document.activeElement.selectedOptions[0].textContent") == "doing 5"
    assert (
        window.run("return Math.abs(document.querySelector('.gallery').closest('section').getBoundingClientRect().top)")
        < 40
    )


def test_the_number_of_mistakes_leads_to_the_mistakes(opened, written):
    window = opened(written)
    follow(window, "#clips-1-wrong")
    assert set(values(window, "right")) == {0}
    assert len(clips(window)) == 9
    follow(window, "#clips-1")
    assert len(clips(window)) == 25


def test_a_clip_that_stands_out_is_shown_whatever_was_filtered_before(opened, written):
    window = opened(written)
    links = window.run("return [...document.querySelectorAll('table a')].map((one) => one.getAttribute('href'))")
    to_clips = [link for link in dict.fromkeys(links) if re.fullmatch(r"#clips-1-\d+", link)]
    assert len(to_clips) > 2
    for link in [*to_clips[:2], to_clips[-1]]:
        choose(window, 1, "4")
        for _ in range(2):  # the same link leads there again
            follow(window, link)
            assert window.run("return '#' + document.activeElement.id") == link
            box = window.run("const box = document.activeElement.getBoundingClientRect(); return [box.top, box.bottom]")
            assert 0 <= box[0] < box[1] <= window.run("return innerHeight") + 1
            choose(window, 1, "4")


def test_an_address_with_a_clip_opens_on_it(windows, written):
    window = windows(DESKTOP)
    window._ask("/url", {"url": written.resolve().as_uri() + "#clips-1-30"})
    assert window.run("return document.activeElement.id") == "clips-1-30"
    assert window.complaints() == []


def test_a_clip_leads_to_its_page(opened, written):
    window = opened(written)
    window.click(".gallery .unfold")
    assert window.run("return document.querySelectorAll('.clips a').length") == 2
    window.run("document.querySelector('#clips-1-17 a').focus()")
    assert focused(window) == "clip 17.mp4"
    window.press("\ue007")
    assert window.run("return new Promise((done) => setTimeout(() => done(document.title), 200))") == "its page"


@pytest.fixture(scope="module")
def barely_folded(tmp_path_factory):
    """The page of a study of two clips more than are shown at first."""
    return page_of(26, tmp_path_factory.mktemp("small study"))


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (SMALL_PHONE, "dark"),
        pytest.param(PHONE, "light", marks=pytest.mark.slow),
        pytest.param(DESKTOP, "light", marks=pytest.mark.slow),
    ],
)
def test_it_can_be_read_on_phones_and_desktops_in_both_schemes(opened, barely_folded, width, scheme):
    window = opened(barely_folded, width, scheme)
    window.click(".gallery .unfold")
    assert len(clips(window)) == 26
    assert faults(window) == []
    assert sticking_out(window) == []
    assert window.run("return document.documentElement.scrollWidth") == width
    assert window.run("return window.hacked") is None
    assert window.run("return [...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_it_is_printed_without_what_only_a_screen_can_do(opened, written):
    window = opened(written, scheme="dark", media="print")
    for what in (".choice", ".gallery .unfold"):
        assert window.run(f"return getComputedStyle(document.querySelector('{what}')).display") == "none"


def test_without_its_script_the_page_has_every_clip(written):
    page = re.sub(r"<script>.*?</script>", "", written.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert page.count('<img alt="Relevance matrix"') == 60
    places = re.findall(r' id="([^"]*)"', page)
    assert len(places) == len(set(places))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(places)
