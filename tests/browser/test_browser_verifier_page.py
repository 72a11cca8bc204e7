"""``verify/page/verify.html``: the same verdict as Python, in a browser that asks nobody."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from receipt_specimens import (
    LOG,
    NEXT,
    TEXT,
    WITNESSES,
    edits,
    receipt,
    respelled,
    signed_but_wrong,
)

from casemate.ledger.note import Signer
from casemate.ledger.verify import Unproven, verify

pytestmark = pytest.mark.browser

PAGE = Path(__file__).resolve().parents[2] / "verify" / "page" / "verify.html"
VKEYS = [one.vkey for one in WITNESSES]
ASK = """async (cases) => {
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const found = [];
  for (const one of cases) {
    try {
      const verdict = await casemateVerify({
        ...one, receipt: bytes(one.receipt), answer: one.answer && bytes(one.answer),
      });
      found.push([verdict.proven, verdict.not_proven]);
    } catch (problem) {
      found.push(problem.part ?? `${problem}`);
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1000, "height": 900}, locale="en-GB")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(PAGE.as_uri())
    yield page
    page.close()
    assert not complaints


def a_case(raw: bytes, vkey: str = LOG.vkey, **more: Any) -> dict[str, Any]:
    return {"receipt": raw, "vkey": vkey, "answer": None, "witnesses": [], "needed": None, **more}


def python_says(case: dict[str, Any]) -> Any:
    try:
        verdict = verify(
            case["receipt"], case["vkey"], case["answer"], case["witnesses"], case["needed"]
        )
    except Unproven as problem:
        return problem.part
    return [list(verdict.proven), list(verdict.not_proven)]


def agree(page: Page, cases: list[dict[str, Any]]) -> list[Any]:
    """Ask both about every case; they must say the same, to the word. Returns what they say."""
    told = [python_says(case) for case in cases]
    asked = [
        {
            **case,
            "receipt": base64.b64encode(case["receipt"]).decode(),
            "answer": case["answer"] and base64.b64encode(case["answer"]).decode(),
        }
        for case in cases
    ]
    found = page.evaluate(ASK, asked)
    assert found == told
    return told


def test_both_say_the_same_words_of_what_holds(page: Page) -> None:
    cosigned = receipt(cosigners=tuple(WITNESSES[:2]))
    both = receipt(signers=(LOG, NEXT))
    told = agree(
        page,
        [
            a_case(receipt()),
            a_case(receipt(), LOG.vkey + "\n", answer=TEXT.encode()),
            a_case(receipt(opened=())),
            a_case(receipt(opened=("question", "answer", "sources", "steps"))),
            a_case(receipt(before=0)),
            a_case(receipt(before=1203)),
            a_case(cosigned),
            a_case(cosigned, witnesses=VKEYS, needed=2),
            a_case(cosigned, witnesses=["\n".join(VKEYS[:2])]),
            a_case(receipt(), witnesses=VKEYS, needed=0),
            a_case(both),
            a_case(both, NEXT.vkey),
            a_case(both, f"{LOG.vkey}\n{NEXT.vkey}\n"),
            a_case(receipt(), f"{NEXT.vkey}\n{LOG.vkey}"),
        ],
    )
    assert all(isinstance(one, list) for one in told)


def test_both_refuse_the_same_keys_answers_and_witnesses(page: Page) -> None:
    cosigned = receipt(cosigners=tuple(WITNESSES[:2]))
    stranger = Signer.from_seed("other.example", b"\x03" * 32).vkey
    keys = [NEXT.vkey, stranger, VKEYS[0], "", "\n" + LOG.vkey, LOG.vkey + "\n\n", LOG.vkey + " "]
    keys += [f"{LOG.vkey}\n{stranger}", LOG.vkey.upper(), LOG.vkey + "=", "+" + LOG.vkey]
    for place in range(0, len(LOG.vkey), 3):
        changed = bytearray(LOG.vkey.encode())
        changed[place] ^= 1
        keys.append(changed.decode())
    cases = [a_case(receipt(), key) for key in keys]
    cases += [
        a_case(receipt(), answer=answer) for answer in (b"", TEXT.encode() + b"\n", b"\xff", b"x")
    ]
    cases += [a_case(receipt(opened=("question",)), answer=TEXT.encode())]
    cases += [
        a_case(cosigned, witnesses=witnesses, needed=needed)
        for witnesses, needed in (
            (VKEYS, None),
            (VKEYS, 3),
            (VKEYS, 4),
            ([], 1),
            ([LOG.vkey], None),
            (["x"], None),
            ([VKEYS[0] + "\n\n"], None),
            ([VKEYS[0], VKEYS[0]], 2),
            (VKEYS[2:], None),
        )
    ]
    assert all(isinstance(one, str) for one in agree(page, cases))


def test_both_agree_on_every_eighth_bit_of_receipts_flipped(page: Page) -> None:
    good = receipt(cosigners=tuple(WITNESSES[:1]))
    drawn = random.Random(11)
    cases = []
    for place in drawn.sample(range(len(good) * 8), 600):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        cases.append(a_case(bytes(bad), witnesses=VKEYS[:1]))
    told = agree(page, cases)
    assert all(isinstance(one, str) for one in told)
    assert len(set(told)) >= 3


def test_both_agree_on_bytes_that_are_missing_or_added(page: Page) -> None:
    good = receipt()
    drawn = random.Random(12)
    cases = []
    for place in drawn.sample(range(len(good)), 60):
        cases.append(a_case(good[:place] + good[place + 1 :]))
        cases.append(a_case(good[:place] + b" " + good[place:]))
        cases.append(a_case(good[:place]))
    assert all(isinstance(one, str) for one in agree(page, cases))


def test_both_refuse_every_other_spelling(page: Page) -> None:
    assert set(agree(page, [a_case(one) for one in respelled(receipt())])) == {"receipt"}


def test_both_name_the_same_part_of_what_was_edited(page: Page) -> None:
    good = receipt()
    told = agree(page, [a_case(one) for one in edits(good) if one != good])
    assert {"receipt", "checkpoint signature", "inclusion of finished", "run"} <= set(
        one for one in told if isinstance(one, str)
    )


def test_both_agree_on_what_a_log_signed_that_recorded_nonsense(page: Page) -> None:
    told = agree(page, [a_case(one) for one in signed_but_wrong()])
    parts = {one for one in told if isinstance(one, str)}
    assert parts == {"run", "answer", "quotation", "opening of answer"}
    assert any(isinstance(one, list) for one in told)


def test_the_page_allows_its_own_script_and_style_and_no_connection(page: Page) -> None:
    text = PAGE.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    for tag in ("script", "style"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1], f"put this {tag}'s hash in the policy"
    assert policy[1].startswith("default-src 'none';")
    assert not re.search(r"\b(src|href)=\"(?!data:,)", text)
    refused = page.evaluate(
        """async () => {
          const blocked = new Promise((resolve) => document.addEventListener(
            "securitypolicyviolation", (event) => resolve(event.effectiveDirective)));
          await fetch("http://127.0.0.1:9/").catch(() => null);
          return blocked;
        }"""
    )
    assert refused == "connect-src"


def fill(page: Page, raw: bytes, vkey: str = LOG.vkey) -> None:
    given = {"name": "key.receipt", "mimeType": "application/json", "buffer": raw}
    page.get_by_label("Receipt file").set_input_files([given])  # type: ignore[list-item]
    page.get_by_role("textbox", name="One line").fill(vkey)
    page.get_by_role("button", name="Check").click()


def test_somebody_checks_a_receipt_and_reads_the_verdict(page: Page, tmp_path: Path) -> None:
    raw = receipt(
        cosigners=tuple(WITNESSES[:2]),
        finished={"witnesses": {"of": 3, "needed": 2, "failing": "closed"}},
    )
    page.get_by_text("Compare with an answer").click()
    page.get_by_label("Verifying keys of witnesses").fill("\n".join(VKEYS) + "\n")
    page.get_by_label("How many must have cosigned").fill("2")
    answer = {"name": "answer.txt", "mimeType": "text/plain", "buffer": TEXT.encode()}
    page.get_by_label("File with the answer's text").set_input_files([answer])  # type: ignore[list-item]
    fill(page, raw, f"  {LOG.vkey}\r\n")
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict.get_by_role("heading", name="This receipt holds")).to_be_visible()
    expect(verdict).to_be_focused()
    said = verdict.get_by_role("listitem").all_inner_texts()
    proven = verify(raw, LOG.vkey, TEXT.encode(), VKEYS, 2)
    assert said == [*proven.proven, *proven.not_proven]
    expect(verdict.get_by_text("Wat kascht et?")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        shot = page.screenshot(full_page=True, path=tmp_path / f"verdict-{scheme}.png")
        assert shot.startswith(b"\x89PNG")


def test_somebody_is_told_which_part_fails(page: Page) -> None:
    raw = receipt()
    fill(page, raw.replace("Die Gebühr beträgt 12".encode(), "Die Gebühr beträgt 13".encode()))
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict.get_by_role("heading", name="Not proven")).to_be_visible()
    expect(verdict).to_contain_text(
        "opening of answer: the content is not what the entry committed to"
    )
    fill(page, raw, "")
    expect(verdict).to_contain_text("key: a verifier key is a name, an id and a key")


def test_without_a_receipt_the_page_says_what_to_do(page: Page) -> None:
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Choose the receipt file.")


def test_a_browser_without_ed25519_says_so_and_judges_nothing(page: Page) -> None:
    page.evaluate(
        """() => { SubtleCrypto.prototype.importKey = async () => {
          throw new DOMException("no", "NotSupportedError"); }; }"""
    )
    fill(page, receipt())
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("this browser cannot check Ed25519 signatures")
    expect(verdict).to_contain_text("Nothing was checked.")


def test_a_dropped_file_is_taken(page: Page) -> None:
    page.evaluate(
        """(text) => {
          const carried = new DataTransfer();
          carried.items.add(new File([text], "dropped.json"));
          document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: carried }));
        }""",
        receipt().decode(),
    )
    expect(page.get_by_text("dropped.json")).to_be_visible()
    page.get_by_role("textbox", name="One line").fill(LOG.vkey)
    page.get_by_role("textbox", name="One line").press("Tab")
    page.get_by_role("button", name="Check").press("Enter")
    expect(page.get_by_role("heading", name="This receipt holds")).to_be_visible()


def test_the_page_fits_a_narrow_screen(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    fill(page, receipt())
    expect(page.get_by_role("heading", name="This receipt holds")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
