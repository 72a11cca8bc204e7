"""A log changes its key: for a while both sign, then the new one alone."""

import pytest
from ledger_builders import a_signer, fill, record_run

from casemate.errors import Invalid, Unavailable
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.consistency import compare, open_checkpoint
from casemate.ledger.log import Log
from casemate.ledger.note import NoteError
from casemate.ledger.record import Ledger
from casemate.ledger.verify import Unproven, verify

OLD, NEW, OTHER = a_signer(seed=1), a_signer(seed=2), a_signer(seed=3)


def opens(checkpoint: bytes, *signers) -> bool:
    try:
        Checkpoint.open(checkpoint, *(signer.verifier for signer in signers))
    except NoteError:
        return False
    return True


def test_the_drill(tmp_path):
    with Log.open(tmp_path, OLD) as log:
        fill(log, 300)
        before = log.checkpoint()
        first = record_run(Ledger(log)).encode()
        # begin: both sign at once, without an entry and without a stop
        log.sign_with(OLD, [NEW])
        assert log.vkeys == (OLD.vkey, NEW.vkey)
        assert opens(log.checkpoint(), OLD)
        assert opens(log.checkpoint(), NEW)
        fill(log, 10)
        second = record_run(Ledger(log)).encode()
        # end: the new one alone
        log.sign_with(NEW)
        assert log.vkey == NEW.vkey
        assert not opens(log.checkpoint(), OLD)
        fill(log, 10)
        third = record_run(Ledger(log)).encode()
        assert log.check() == log.size
        after = log.checkpoint()
        proof = log.consistency(300, log.size)
    # whoever holds the old key checks what was given out before and during; the new, since then
    for receipt, holders in ((first, {OLD}), (second, {OLD, NEW}), (third, {NEW})):
        for signer in (OLD, NEW):
            if signer in holders:
                verify(receipt, signer.vkey)
            else:
                with pytest.raises(Unproven):
                    verify(receipt, signer.vkey)
        verify(receipt, f"{OLD.vkey}\n{NEW.vkey}\n")
    # the log is one log: from the old key's last checkpoint to the new one's, only appended
    compare(
        open_checkpoint("before", before, OLD.verifier),
        open_checkpoint("after", after, NEW.verifier),
        proof,
    )


def test_a_log_that_is_opened_with_two_keys_signs_with_both_at_once(tmp_path):
    with Log.open(tmp_path, OLD) as log:
        fill(log, 5)
    with Log.open(tmp_path, OLD, [NEW]) as log:
        assert log.size == 5
        assert opens(log.checkpoint(), NEW)
        assert (tmp_path / "checkpoint").read_bytes() == log.checkpoint()
    with Log.open(tmp_path, NEW) as log:
        assert not opens(log.checkpoint(), OLD)
        assert log.check() == 5


def test_a_new_log_may_begin_with_two_keys(tmp_path):
    with Log.open(tmp_path, OLD, [NEW]) as log:
        assert opens(log.checkpoint(), OLD)
        assert opens(log.checkpoint(), NEW)


def test_the_new_key_alone_does_not_open_what_the_old_one_signed(tmp_path):
    with Log.open(tmp_path, OLD) as log:
        fill(log, 1)
    with pytest.raises(Invalid, match="another key"):
        Log.open(tmp_path, NEW)
    with pytest.raises(Invalid, match="another key"):
        Log.open(tmp_path, NEW, [OTHER])


def test_a_key_of_another_name_signs_no_checkpoint_of_this_log(tmp_path):
    stranger = a_signer("casemate.example/other")
    with Log.open(tmp_path, OLD) as log:
        for keys in ((stranger, ()), (OLD, [stranger]), (OLD, [OLD])):
            with pytest.raises(Invalid):
                log.sign_with(*keys)
        fill(log, 1)
        assert log.vkeys == (OLD.vkey,)


def test_a_disk_that_refuses_the_change_leaves_the_old_key_signing(tmp_path, monkeypatch):
    with Log.open(tmp_path, OLD) as log:
        fill(log, 3)
        checkpoint = log.checkpoint()
        with monkeypatch.context() as failure:
            failure.setattr("os.open", refuse)
            with pytest.raises(Unavailable):
                log.sign_with(OLD, [NEW])
        assert log.checkpoint() == checkpoint
        assert log.vkeys == (OLD.vkey,)
        fill(log, 3)
        assert not opens(log.checkpoint(), NEW)
    with Log.open(tmp_path, OLD) as log:
        assert log.check() == 6


def refuse(*arguments, **named):
    raise OSError(28, "No space left on device")
