"""stub"""

from remotevirt.xml.domain.document import DomainModel


def check_stability(old: DomainModel, new: DomainModel) -> None:
    """x"""
