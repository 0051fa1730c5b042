"""The reference of a pruner, asked about signals that were recorded by somebody."""

from vtp_export import rooms
from vtp_export.errors import ArtefactError
from vtp_export.parity.witness import Select
from vtp_export.reference.base import Outcome, Settings, Signals
from vtp_export.spec import PrunerRecord


def reference_of(pruner: PrunerRecord) -> Select:
    """The reference, for signals that somebody recorded: where they are not what it reads, that is one sentence."""
    select: Select = rooms.load("reference", pruner.name).select

    def asked(signals: Signals, settings: Settings) -> Outcome:
        try:
            return select(signals, settings)
        except (AssertionError, TypeError, ValueError, ArithmeticError, IndexError) as error:
            raise ArtefactError(
                f"the signals of this artefact are not what the reference of {pruner.name} reads; export again"
            ) from error

    return asked
