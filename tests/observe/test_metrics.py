"""The metrics, as Prometheus sees them."""

from __future__ import annotations

from typing import Any

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.observe.lag import INTERVAL, KEPT, LagMeter
from remotevirt.observe.metrics import EVENT_KINDS_MAXIMUM, FAMILIES, Metrics
from remotevirt.stubs.errors import AccessDenied, NoDomain
from tests.observe.fakes import DOMAIN, PROGRAMS, FakeClient, make_call


class MetricsTests(TestCase):
    """What is counted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lag = LagMeter(self.clock)
        self.metrics = Metrics(self.lag, lambda: {"calls": 3}, lambda: (5, 1))

    def value(self, name: str, **labels: str) -> float | None:
        """A sample, None if it is not there."""
        return self.metrics.registry.get_sample_value(name, labels)

    def finish(self, name: str, *args: Any, **kwargs: Any) -> None:
        call = make_call(name, *args, **kwargs)
        self.metrics.call_started(call)
        self.metrics.call_finished(call, b"")

    def fail_call(self, error: VirError, name: str = "domain_create", *args: Any) -> None:
        call = make_call(name, *(args or (DOMAIN,)))
        self.metrics.call_started(call)
        self.metrics.call_failed(call, error)

    def test_calls_by_outcome(self) -> None:
        self.finish("domain_create", DOMAIN)
        self.finish("domain_create", DOMAIN)
        self.fail_call(NoDomain("no"))
        call = make_call("domain_create", DOMAIN)
        self.metrics.call_started(call)
        self.assertEqual(1, self.value("remotevirt_calls_in_flight"))
        self.metrics.call_cancelled(call)
        self.assertEqual(0, self.value("remotevirt_calls_in_flight"))
        labels = {"program": "remote", "procedure": "domain_create"}
        for outcome, count in {"ok": 2, "error": 1, "cancelled": 1}.items():
            self.assertEqual(count, self.value("remotevirt_calls_total", outcome=outcome, **labels))
        self.assertEqual(4, self.value("remotevirt_call_seconds_count", **labels))
        self.assertAlmostEqual(0.008, self.value("remotevirt_call_seconds_sum", **labels) or 0)

    def test_latency_buckets(self) -> None:
        for latency in (0.00001, 0.0004, 0.0005, 3.0, 99.0):
            self.finish("domain_create", DOMAIN, latency=latency)
        labels = {"program": "remote", "procedure": "domain_create"}
        for bound, count in {"5e-05": 1, "0.0005": 3, "2.5": 3, "10.0": 4, "+Inf": 5}.items():
            self.assertEqual(count, self.value("remotevirt_call_seconds_bucket", le=bound, **labels), bound)

    def test_errors_by_name(self) -> None:
        self.fail_call(NoDomain("no"))
        self.fail_call(AccessDenied("no"))
        self.fail_call(AccessDenied("no"))
        self.fail_call(VirError("strange", code=31337))
        self.assertEqual(1, self.value("remotevirt_errors_total", code="VIR_ERR_NO_DOMAIN"))
        self.assertEqual(2, self.value("remotevirt_errors_total", code="VIR_ERR_ACCESS_DENIED"))
        self.assertEqual(1, self.value("remotevirt_errors_total", code="other"))

    def test_unknown_procedures_are_one(self) -> None:
        """Numbers that a client makes up do not make series."""
        for program in PROGRAMS:
            self.fail_call(NoDomain("no"), "no_such_procedure")
            self.finish("no_such_procedure", program=program)
        labels = {"program": "other", "procedure": "other"}
        self.assertEqual(3, self.value("remotevirt_calls_total", outcome="error", **labels))
        self.assertEqual(3, self.value("remotevirt_calls_total", outcome="ok", **labels))

    def test_clients(self) -> None:
        client, other = FakeClient(), FakeClient(8, Identity("unix"), listener="unix:/sock")
        for one in (client, other):
            self.metrics.client_connected(one)
        self.metrics.client_disconnected(client, "bye")
        labels = {"transport": "tls", "listener": "tls:16514"}
        self.assertEqual(0, self.value("remotevirt_clients", **labels))
        self.assertEqual(1, self.value("remotevirt_connections_total", **labels))
        self.assertEqual(1, self.value("remotevirt_clients", transport="unix", listener="unix:/sock"))

    def test_refused(self) -> None:
        self.metrics.client_refused("192.0.2.1;1", "limit: too many")
        self.metrics.client_refused("192.0.2.1;1", "limit: other words")
        self.metrics.client_refused("192.0.2.1;1", "nonsense 4711")
        self.assertEqual(2, self.value("remotevirt_refused_total", reason="limit"))
        self.assertEqual(1, self.value("remotevirt_refused_total", reason="other"))

    def test_events(self) -> None:
        client = FakeClient()
        for number in range(EVENT_KINDS_MAXIMUM + 5):
            self.metrics.event_sent(client, f"kind{number}", 0, 10)
        self.metrics.event_sent(client, "kind0", 0, 10)
        self.assertEqual(2, self.value("remotevirt_events_total", kind="kind0"))
        self.assertEqual(5, self.value("remotevirt_events_total", kind="other"))
        self.assertEqual((EVENT_KINDS_MAXIMUM + 6) * 10, self.value("remotevirt_event_bytes_total"))

    def test_streams(self) -> None:
        procedure = make_call("no").procedure
        self.metrics.stream_moved(FakeClient(), procedure, 5, 0)
        self.metrics.stream_moved(FakeClient(), procedure, 1, 100)
        self.assertEqual(6, self.value("remotevirt_stream_bytes_total", direction="sent"))
        self.assertEqual(100, self.value("remotevirt_stream_bytes_total", direction="received"))

    def test_asked_when_scraped(self) -> None:
        self.assertEqual(3, self.value("remotevirt_queue_depth", queue="calls"))
        self.assertEqual(5, self.value("remotevirt_audit_lines_total", result="written"))
        self.assertEqual(1, self.value("remotevirt_audit_lines_total", result="lost"))

    def test_every_family_is_exposed(self) -> None:
        """What the manual lists is what there is."""
        found = {
            metric.name: metric
            for metric in self.metrics.registry.collect()
            if metric.name.startswith("remotevirt_")
        }
        self.assertEqual(set(FAMILIES), set(found))
        for name, family in FAMILIES.items():
            self.assertEqual((family.type, family.help), (found[name].type, found[name].documentation))

    def test_both_formats_can_be_read(self) -> None:
        self.finish("domain_create", DOMAIN)
        self.fail_call(NoDomain("no"))
        self.metrics.client_connected(FakeClient(listener='unix:/a "b"\\\n'))
        text = generate_openmetrics(self.metrics.registry).decode()
        names = {family.name for family in text_string_to_metric_families(text)}
        self.assertLessEqual(set(FAMILIES), names)
        self.assertIn(b"process_resident_memory_bytes", generate_latest(self.metrics.registry))

    def test_registries_are_apart(self) -> None:
        self.finish("domain_create", DOMAIN)
        other = Metrics(self.lag)
        labels = {"program": "remote", "procedure": "domain_create", "outcome": "ok"}
        self.assertIsNone(other.registry.get_sample_value("remotevirt_calls_total", labels))


class LagTests(TestCase):
    """The reactor's lateness."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = LagMeter(self.clock)
        self.meter.start()
        self.addCleanup(self.meter.stop)

    def test_on_time(self) -> None:
        self.clock.pump([INTERVAL] * 5)
        self.assertEqual((0.0, 0.0), (self.meter.last, self.meter.worst))

    def test_late(self) -> None:
        """The reactor was busy for longer than an interval: one measurement says by how much."""
        self.clock.advance(INTERVAL + 1.75)
        self.assertAlmostEqual(1.75, self.meter.last)
        self.clock.advance(INTERVAL)
        self.assertAlmostEqual(0.0, self.meter.last)
        self.assertAlmostEqual(1.75, self.meter.worst)

    def test_worst_is_forgotten(self) -> None:
        self.clock.advance(INTERVAL + 1.75)
        self.clock.pump([INTERVAL] * KEPT)
        self.assertAlmostEqual(0.0, self.meter.worst)

    def test_stops(self) -> None:
        self.meter.start()
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.meter.stop()
        self.meter.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
