import pytest

from bench.top.page import READERS, Streams, read_fleet
from qoe import PROFILES


def test_a_replica_is_what_its_series_say(page) -> None:
    (replica,) = read_fleet([page("abc")]).replicas
    assert (replica.name, replica.policy) == ("abc", "andes")
    assert (replica.kv_used, replica.kv_total) == (30.0, 40.0)
    assert replica.states == {"running": 3.0, "waiting": 2.0, "preempted": 1.0}
    assert replica.tokens == 1000.0


def test_nobody_reads_the_streams_of_no_reader(page) -> None:
    assert set(PROFILES) - set(READERS) == {"none"}
    (replica,) = read_fleet([page("abc")]).replicas
    assert replica.readers == Streams(4.0, 1.0, 10.0, 9.0)
    assert replica.classes["none"].active == 50.0


def test_pages_of_several_nodes_are_one_fleet(page) -> None:
    fleet = read_fleet([page("b", router=""), page("a", "c", router="")])
    assert [replica.name for replica in fleet.replicas] == ["a", "b", "c"]
    assert fleet.of_class("reading") == Streams(12.0, 3.0, 30.0, 27.0)


def test_the_dead_are_not_in_the_fleet(page) -> None:
    assert read_fleet([page()]).replicas == []


def test_routers_are_added_up_and_the_oldest_report_is_shown(page) -> None:
    router = read_fleet([page("a")]).router
    assert router.outcomes == {"scored": 12.0, "no_report": 2.0}
    assert (router.on_their_way, router.oldest_report_s) == (3.0, 0.5)


def test_a_fleet_without_a_router_has_no_report() -> None:
    assert read_fleet([""]).router.oldest_report_s is None


def test_a_page_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="float"):
        read_fleet(["ray_andes_engine_info{} not a number\n"])
