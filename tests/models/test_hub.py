"""From the hub only what is needed is fetched, at one commit, and its errors become one sentence."""

import logging
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from vtp_export.errors import ModelError, VtpWarning
from vtp_export.graphs.assembly import load_model
from vtp_export.models._weights import INDEX, SINGLE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LANGUAGE = "model-00003-of-00003.safetensors"
RESPONSE = SimpleNamespace(headers={}, request=None, status_code=404)


class Hub:
    """Stands for `hf_hub_download`: serves a folder as the cache would and notes what was asked for."""

    def __init__(self, monkeypatch, folder, below):
        self.root = below
        self.root.parent.mkdir(parents=True)
        self.root.symlink_to(folder)
        self.names, self.asked = [], []
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)
        monkeypatch.setattr(huggingface_hub, "file_exists", lambda _, name, revision: (self.root / name).is_file())

    def download(self, repo_id, filename, *, revision=None):
        self.asked.append((repo_id, revision))
        self.names.append(filename)
        path = self.root / filename
        if not path.is_file():
            raise errors.EntryNotFoundError(f"404: {filename}")
        return str(path)


def test_the_language_models_shard_is_never_asked_for(split_llava, monkeypatch, tmp_path):
    hub = Hub(monkeypatch, split_llava, tmp_path / "models--owner--name" / "snapshots" / COMMIT)
    loaded = load_model("owner/name", revision="v1.5")
    small = {"config.json", SINGLE, INDEX, "adapter_config.json", "preprocessor_config.json", "processor_config.json"}
    assert set(hub.names) == small | {f"model-0000{part}-of-00003.safetensors" for part in (1, 2)}
    assert LANGUAGE not in hub.names
    # The branch is asked once what commit it stands for; all else is asked of that commit, should the branch move.
    assert hub.asked[0] == ("owner/name", "v1.5")
    assert set(hub.asked[1:]) == {("owner/name", COMMIT)}
    assert loaded.core.id == "owner/name"
    assert loaded.core.revision == COMMIT
    assert loaded.core.weights_sha256 == load_model(str(split_llava)).core.weights_sha256


def test_an_index_is_not_asked_for_where_there_is_a_single_file(single_llava, monkeypatch, tmp_path):
    hub = Hub(monkeypatch, single_llava, tmp_path / "snapshots" / COMMIT)
    assert load_model("owner/name").core.revision == COMMIT
    assert hub.asked[0] == ("owner/name", None)
    assert set(hub.asked[1:]) == {("owner/name", COMMIT)}
    assert SINGLE in hub.names
    assert INDEX not in hub.names


def test_a_path_that_is_no_snapshot_leaves_the_revision_as_asked(split_llava, monkeypatch, tmp_path):
    Hub(monkeypatch, split_llava, tmp_path / "elsewhere" / COMMIT)
    assert load_model("owner/name", revision="v1.5").core.revision == "v1.5"


def test_a_hub_model_without_config_is_refused(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    Hub(monkeypatch, tmp_path / "empty", tmp_path / "snapshots" / COMMIT)
    with pytest.raises(ModelError, match=r"'owner/name' has no config\.json"):
        load_model("owner/name")


ERRORS = {
    "offline": (
        errors.LocalEntryNotFoundError("cannot find the requested files\nin the disk cache"),
        r"cannot reach the hub for 'owner/name', and config\.json is not in the local cache; "
        r"download the model first, or name a local folder",
    ),
    "offline mode": (
        errors.OfflineModeIsEnabled("it is on"),
        r"cannot reach the hub for 'owner/name', and config\.json is not",
    ),
    "no such model": (
        errors.RepositoryNotFoundError("401 Client Error.\nRepository Not Found", response=RESPONSE),
        r"cannot fetch config\.json of 'owner/name' from the hub: 401 Client Error\.",
    ),
    "gated": (errors.GatedRepoError("403: ask for access\n", response=RESPONSE), r"from the hub: 403: ask for access"),
    "no such revision": (
        errors.RevisionNotFoundError("404: no revision", response=RESPONSE),
        r"from the hub: 404: no revision",
    ),
    "not a hub id": (errors.HFValidationError("Repo id must use alphanumeric chars"), r"hub: Repo id must use"),
    "disk full": (OSError(28, "No space left on device"), r"hub: \[Errno 28\] No space left on device"),
    "without words": (OSError(), r"cannot fetch config\.json of 'owner/name' from the hub: OSError$"),
    # What the hub's client lets through of the libraries below it.
    "broken connection": (errors.HTTPError("peer closed connection"), r"from the hub: peer closed connection"),
    "failed transfer": (RuntimeError("Data processing error: CAS service error"), r"hub: Data processing error"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_the_hub_become_one_sentence(monkeypatch, name):
    error, message = ERRORS[name]

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ModelError, match=message) as caught:
        load_model("owner/name")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_an_interrupt_is_let_through(monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_model("owner/name")


@pytest.fixture
def pickled(split_llava, tmp_path):
    """A folder whose weights are a pickle."""
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_bytes((split_llava / "config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    return folder


def test_pickled_weights_are_not_downloaded_to_be_refused(pickled, monkeypatch, tmp_path):
    hub = Hub(monkeypatch, pickled, tmp_path / "snapshots" / COMMIT)
    with pytest.raises(ModelError, match="has pickled weights only"):
        load_model("owner/name")
    assert not [name for name in hub.names if name.endswith((".bin", ".pth", ".ckpt"))]


@pytest.fixture
def offline_cache(monkeypatch, tmp_path):
    """`offline_cache(folder, absent)`: the real client, offline, with `folder` in its cache as owner/name.

    `absent` are files that the hub once said it does not have, which the cache remembers.
    """
    from huggingface_hub import constants

    def fill(folder, absent):
        repository = tmp_path / "models--owner--name"
        (repository / "snapshots").mkdir(parents=True)
        (repository / "snapshots" / COMMIT).symlink_to(folder)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        (repository / ".no_exist" / COMMIT).mkdir(parents=True)
        for name in absent:
            (repository / ".no_exist" / COMMIT / name).touch()

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return fill


def test_a_cached_model_loads_without_a_network(offline_cache, split_llava):
    offline_cache(split_llava, ["preprocessor_config.json", "processor_config.json"])
    assert load_model("owner/name").core.revision == COMMIT


def test_a_cached_model_of_one_file_loads_without_a_network(offline_cache, single_llava):
    offline_cache(single_llava, [INDEX, "preprocessor_config.json", "processor_config.json"])
    assert load_model("owner/name").core.revision == COMMIT


@pytest.mark.parametrize("layout", ["single_llava", "split_llava"])
def test_a_cache_that_remembers_nothing_of_absent_files_will_do(request, offline_cache, layout):
    """As a download of the whole repository leaves it. What was looked for in vain is told."""
    folder = request.getfixturevalue(layout)
    offline_cache(folder, [])
    loaded = load_model("owner/name")
    assert loaded.core.revision == COMMIT
    assert loaded.core.weights_sha256 == load_model(str(folder)).core.weights_sha256
    (note,) = loaded.notes
    assert note.startswith(
        "no processor_config.json or preprocessor_config.json of 'owner/name' is in the local cache, and the hub"
    )


def test_weights_that_were_never_downloaded_are_said_so(offline_cache, split_llava, tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.json").write_bytes((split_llava / "config.json").read_bytes())
    offline_cache(folder, [])
    with pytest.raises(
        ModelError, match=r"has no weights: .* in the local cache, and the hub cannot be reached; download"
    ):
        load_model("owner/name")


def test_pickled_weights_in_the_cache_are_called_so(offline_cache, pickled):
    offline_cache(pickled, [])
    with pytest.raises(ModelError, match="has pickled weights only"):
        load_model("owner/name")


def test_what_is_not_in_the_cache_is_named(offline_cache, tmp_path):
    (tmp_path / "empty").mkdir()
    offline_cache(tmp_path / "empty", [])
    with pytest.raises(
        ModelError, match=r"for 'owner/name' \(HF_HUB_OFFLINE is set\), and config\.json is not in the local"
    ):
        load_model("owner/name")


def test_attempts_of_the_client_are_told_once(monkeypatch, caplog):
    log = logging.getLogger("huggingface_hub.utils._http")

    def download(*_, **__):
        for attempt in range(1, 6):
            log.warning("'[Errno -2] Name or service not known' thrown while requesting HEAD")
            log.warning("Retrying in 1s [Retry %s/5].", attempt)
        log.warning("Rate limited. Waiting 300s before retry [Retry 5/5].")
        raise errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    handlers = logging.getLogger("huggingface_hub").handlers
    with (
        pytest.raises(ModelError, match="cannot reach the hub for 'owner/name', and"),
        pytest.warns(VtpWarning) as told,
    ):
        load_model("owner/name")
    notes = {str(one.message) for one in told}
    assert len(notes) == 2 and any("asked again" in note and "HF_HUB_OFFLINE=1" in note for note in notes)
    assert "the hub: Rate limited. Waiting 300s before retry [Retry 5/5]." in notes
    assert not caplog.records and logging.getLogger("huggingface_hub").handlers is handlers
