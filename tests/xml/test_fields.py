"""The tables that models are: reading, printing, copying."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    body,
    child,
    children,
    flag,
    hidden,
    inline,
    leaf,
    leaves,
    nested_attribute,
    variant,
)
from remotevirt.xml.parse import parse_fragment
from remotevirt.xml.values import Choice, Integer, internal, yes_no
from remotevirt.xml.write import render

# ruff: noqa: RUF009 (the calls declare fields)


@attrs.define
class Shared(Model):
    alias: str | None = nested_attribute("alias/name")


@attrs.define
class Round(Model):
    TAG: ClassVar[str] = "wheel"
    type: str = attribute("type")
    radius: int | None = attribute("radius", Integer())


@attrs.define
class Square(Model):
    TAG: ClassVar[str] = "wheel"
    type: str = attribute("type")
    text: str | None = body()


@attrs.define
class Engine(Model):
    TAG: ClassVar[str] = "engine"
    power: int | None = attribute("power", Integer(zero="silent"))


@attrs.define
class Spare(Model):
    TAG: ClassVar[str] = "spare"
    power: int | None = attribute("power", Integer())


def _choose(element: Any) -> type[Model] | None:
    return {"round": Round, "square": Square}.get(element.get("type"))


@attrs.define
class Car(Model):
    TAG: ClassVar[str] = "car"
    name: str = attribute("name", required=True)
    colour: str = attribute("colour", Choice("red blue"), default="red")
    key: str | None = attribute("key", secure=True)
    speed: int | None = attribute("speed", Integer(), live=True)
    owner: str | None = leaf("owner")
    tags: list[str] = leaves("tag")
    open: bool = flag("open")
    lights: bool | None = nested_attribute("lights/on", yes_no(), required=True)
    engine: Engine | None = child(Engine, too_many=internal("one engine will do"))
    wheels: list[Model] = variant("wheel", _choose, many=True)
    spare: list[Spare] = children(Spare)
    shared: Shared = inline(Shared)
    seen: int = hidden(0)

    def complete(self, source: Source, how: Reading) -> None:
        self.seen += 1


FULL = """<car name='a' colour='blue' key='k' speed='5'>
  <owner>o</owner>
  <tag>1</tag>
  <tag>2</tag>
  <open/>
  <lights on='yes'/>
  <engine power='3'/>
  <wheel type='round' radius='4'/>
  <wheel type='square'>corner</wheel>
  <spare power='1'/>
  <spare power='2'/>
  <alias name='x'/>
</car>
"""


def read(text: str, *, live: bool = False) -> Car:
    """Read a car."""
    return Car.read(parse_fragment(text, source="(car)"), Reading(live=live))


class Tables(SynchronousTestCase):
    """All kinds of fields."""

    def test_everything(self) -> None:
        """What was read is printed in the fields' order, whatever order it had."""
        car = read(FULL, live=True)
        self.assertEqual(render(car.element(Printing(secure=True))), FULL)
        self.assertEqual(car.seen, 1)
        self.assertEqual(read(FULL).speed, None)

    def test_what_is_shown(self) -> None:
        """Secrets and what only a running guest has are left out where they are not wanted."""
        car = read(FULL, live=True)
        line = render(car.element(Printing())).splitlines()[0]
        self.assertEqual(line, "<car name='a' colour='blue' speed='5'>")
        line = render(car.element(Printing(secure=True, inactive=True))).splitlines()[0]
        self.assertEqual(line, "<car name='a' colour='blue' key='k'>")

    def test_defaults(self) -> None:
        """A default is printed; what is not there, unknown or says nothing is not."""
        car = read("<car name='a' x='y'><b/><engine power='0'/><wheel type='oval'/><owner/></car>")
        self.assertEqual(render(car.element(Printing())), "<car name='a' colour='red'/>\n")

    def test_errors(self) -> None:
        """Each kind of field has its own way to be wrong."""
        for text, words in (
            ("<car/>", "Missing required attribute 'name' in element 'car'"),
            ("<car name='a' colour='c'/>", "Invalid value for attribute 'colour' in element 'car': 'c'."),
            ("<car name='a'><lights/></car>", "Missing required attribute 'on' in element 'lights'"),
            ("<car name='a'><engine/><engine/></car>", "one engine will do"),
        ):
            error = self.assertRaises(VirError, read, text)
            self.assertTrue(error.message.endswith(words), error.message)

    def test_copy(self) -> None:
        """Copies share no lists and no models."""
        car = read(FULL)
        twin = car.copy()
        self.assertEqual(car, twin)
        twin.tags.append("3")
        twin.shared.alias = "y"
        assert car.engine is not None and twin.engine is not None
        twin.engine.power = 9
        self.assertEqual((len(car.tags), car.shared.alias, car.engine.power), (2, "x", 3))

    def test_models_do_not_share_defaults(self) -> None:
        """Every model has lists of its own."""
        one, two = read("<car name='a'/>"), read("<car name='b'/>")
        one.tags.append("x")
        self.assertEqual(two.tags, [])
        self.assertRaises(XmlError, read, "<car/>")
