"""Counts of several processes are added up as Prometheus means them."""

from __future__ import annotations

from casemate.counts import Counts, Family, Replica, Sample, added


def family(name: str, kind: str, *samples: tuple[str, dict[str, str], float]) -> Family:
    return Family(
        name, "", kind, tuple(Sample(one, tuple(of.items()), value) for one, of, value in samples)
    )


def numbers(counts: Counts) -> dict[tuple[str, str], float]:
    return {
        (one.name, ",".join(value for _, value in one.labels)): one.value
        for each in counts.families
        for one in each.samples
    }


def test_numbers_of_one_name_and_labels_are_summed_and_others_stand_beside_them() -> None:
    one = Counts((family("runs", "counter", ("runs_total", {"m": "a"}, 2)),))
    other = Counts(
        (
            family("runs", "counter", ("runs_total", {"m": "a"}, 3), ("runs_total", {"m": "b"}, 1)),
            family("open", "gauge", ("open", {}, 4)),
        )
    )
    assert numbers(added([one, other])) == {
        ("runs_total", "a"): 5,
        ("runs_total", "b"): 1,
        ("open", ""): 4,
    }


def test_what_is_no_amount_is_not_summed() -> None:
    def process(created: float, start: float, state: float) -> Counts:
        return Counts(
            (
                family("runs", "counter", ("runs_created", {}, created)),
                family("p", "gauge", ("process_start_time_seconds", {}, start)),
                family("s", "gauge", ("casemate_replica_state", {}, state)),
            )
        )

    found = numbers(added([process(9, 100, 0), process(7, 50, 1), process(8, 60, 1)]))
    assert found == {
        ("runs_created", ""): 7,
        ("process_start_time_seconds", ""): 100,
        ("casemate_replica_state", ""): 1,
    }


def test_of_a_process_that_has_ended_what_grows_stays_and_what_was_so_goes() -> None:
    ended = Counts(
        (
            family("runs", "counter", ("runs_total", {}, 2)),
            family("seconds", "histogram", ("seconds_sum", {}, 1.5)),
            family("open", "gauge", ("open", {}, 4)),
        ),
        (Replica("m", 1, "open", 1, 2, 3),),
    )
    assert numbers(ended.lasting()) == {("runs_total", ""): 2, ("seconds_sum", ""): 1.5}
    assert ended.lasting().replicas == ()


def test_a_server_is_as_bad_as_the_process_says_that_sees_it_worst() -> None:
    (found,) = added(
        [
            Counts(replicas=(Replica("m", 1, "half open", 1, 2, 3),)),
            Counts(replicas=(Replica("m", 1, "open", 1, 0, 0),)),
            Counts(replicas=(Replica("m", 1, "closed", 2, 1, 1),)),
        ]
    ).replicas
    assert found == Replica("m", 1, "open", 4, 3, 4)
