"""A checkpoint on the Hugging Face hub: only what is asked for is fetched, all of it at one commit."""

from pathlib import Path

from vtp_export.errors import ModelError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.models._checkpoint import CONFIG, Checkpoint
from vtp_export.models._weights import PICKLES
from vtp_export.runtime.hub import quiet


def hub_checkpoint(model_id: str, revision: str | None) -> Checkpoint:
    """A checkpoint on the hub; files come through the cache of its client.

    Raises:
        UnavailableError: huggingface_hub is not installed.
        ModelError: no such model, or the hub cannot be reached.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled
    except ImportError as error:
        raise UnavailableError(f"a hub id needs huggingface_hub: {install('export')}") from error
    unasked: set[str] = set()

    def fetch(name: str, revision: str | None) -> Path | None:
        try:
            if name in PICKLES:  # asked for only to be refused: no reason to fetch gigabytes
                with quiet():
                    return Path(name) if huggingface_hub.file_exists(model_id, name, revision=revision) else None
            with quiet():
                return Path(huggingface_hub.hf_hub_download(model_id, name, revision=revision))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            look = huggingface_hub.try_to_load_from_cache
            if isinstance(look(model_id, CONFIG, revision=revision), str):  # the model is there
                cached = look(model_id, name, revision=revision)
                if cached is None:  # nor does the cache remember that the hub has no such file
                    unasked.add(name)
                return Path(cached) if isinstance(cached, str) else None
            offline = " (HF_HUB_OFFLINE is set)" if huggingface_hub.constants.HF_HUB_OFFLINE else ""
            raise ModelError(
                f"cannot reach the hub for '{model_id}'{offline}, and {name} is not in the local cache; "
                "download the model first, or name a local folder"
            ) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # the client also lets through errors of the HTTP and transfer libraries below it
            raise ModelError(f"cannot fetch {name} of '{model_id}' from the hub: {first_line(error)}") from error

    config = fetch(CONFIG, revision)
    # The cache path ends in snapshots/COMMIT/config.json. Everything else is asked for by that commit: a branch may
    # move between two requests, and the commit is what makes the export reproducible.
    commit = config.parent.name if config is not None and config.parent.parent.name == "snapshots" else revision
    return Checkpoint(id=model_id, revision=commit, fetch=lambda name: fetch(name, commit), unasked=unasked)
