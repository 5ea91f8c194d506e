"""Checkpoints on the Hugging Face Hub: what may be uploaded is looked at before hours of work, and what is uploaded is the checkpoint alone."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.presentation.escape import first_line, one_line

# Weights that were there before, under names that the new ones may not have: transformers would load them in the place of these.
STALE = (
    "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors", "pytorch_model*.bin", "pytorch_model.bin.index.json",
    "adapter_model.safetensors", "adapter_model.bin", "adapter_config.json",
)  # fmt: skip
_MAY_WRITE = ("admin", "write", "contributor")
_LOGIN = "Run hf auth login with a token that may write, or set HF_TOKEN."


class PushError(UsageError):
    """The checkpoint is whole on this machine and could not be uploaded."""

    exit_code = 1


@dataclass(frozen=True)
class Repository:
    """Where a checkpoint goes: `name` is ORG/NAME. `private` None: as it is, and private where it is made."""

    name: str
    private: bool | None = None
    branch: str | None = None


def check(repository: Repository) -> str:
    """A sentence on who may write the repository, after asking the Hub; nothing is made there.

    Raises:
        UsageError: the name cannot be used, the Hub cannot be reached, nobody is logged in, the right is missing, or a repository
            that is public is there and nobody said that it may be.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils import validate_repo_id

    name = repository.name
    owner, slash, _ = name.partition("/")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(f"--push-to-hub {name!r} is no name of a repository ({_said(error)}). Write ORG/NAME.") from error  # fmt: skip
    api = HfApi()
    who = _asked(name, api.whoami)
    user = str(who.get("name"))
    if not slash:
        raise UsageError(f"--push-to-hub {name!r} does not say whose it is. Write {user}/{name}.")
    if reason := _no_right(who, name, owner, user):
        raise UsageError(f"{user!r} may not write {name!r} on the Hub: {reason}")
    try:
        found = _asked(name, lambda: api.model_info(name), passing=(RepositoryNotFoundError,))
    except RepositoryNotFoundError:
        return f"{name} can be made on the Hub, as {user}"
    if not found.private and repository.private is not False:
        raise UsageError(
            f"{name!r} is on the Hub already, and everybody can read it. Give --public to upload there, or name another repository."
        )
    if found.private and repository.private is False:
        raise UsageError(
            f"{name!r} is on the Hub already, and private. Leave --public out, or change that in its settings first."
        )
    return f"{name} can be written on the Hub, as {user}"


def _no_right(who: Mapping[str, Any], name: str, owner: str, user: str) -> str:
    """Why the one who is logged in may not write there, or ''."""
    roles = {str(org.get("name")): org.get("roleInOrg") for org in who.get("orgs") or () if isinstance(org, Mapping)}  # fmt: skip
    if owner != user and owner not in roles:
        known = ", ".join([user, *roles])
        return (
            f"{owner!r} is neither that user nor one of its organizations. Write one of {known} in its place."
        )
    if owner != user and roles[owner] is not None and roles[owner] not in _MAY_WRITE:
        return f"its role in {owner!r} is {roles[owner]}. Ask for the right to write, or name another place."
    token = ((who.get("auth") or {}).get("accessToken") or {}) if isinstance(who.get("auth"), Mapping) else {}  # fmt: skip
    if token.get("role") == "read":
        return f"its token is for reading alone. {_LOGIN}"
    if token.get("role") == "fineGrained" and not _granted(token.get("fineGrained") or {}, name, owner):
        return f"its token has no right to write there. {_LOGIN}"
    return ""


def _granted(rights: Mapping[str, Any], name: str, owner: str) -> bool:
    scoped = [one for one in rights.get("scoped") or () if isinstance(one, Mapping)]
    places = {(one.get("entity") or {}).get("name"): one.get("permissions") or () for one in scoped}
    return any("repo.write" in places.get(place, ()) for place in (name, owner))


def push(folder: str | Path, files: Sequence[str], repository: Repository, message: str) -> str:
    """The address of the repository, after uploading `files` of the checkpoint in `folder` and nothing else.

    Raises:
        PushError: it could not be done; the folder is as it was.
    """
    from huggingface_hub import HfApi

    api, name = HfApi(), repository.name
    try:
        address = api.create_repo(name, private=repository.private is not False, exist_ok=True)
        if repository.branch is not None:
            api.create_branch(name, branch=repository.branch, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            revision=repository.branch,
            allow_patterns=[glob.escape(file) for file in files],
            delete_patterns=list(STALE),
            commit_message=message,
        )
    except Exception as error:  # of its own, of its libraries, of the network
        raise PushError(
            f"the checkpoint is whole in {str(folder)!r}, and could not be uploaded to {name!r} ({_said(error)}). Upload it later: "
            f"hf upload {name} {folder}"
        ) from error
    return str(address)


def _asked(name: str, ask: Callable[[], Any], passing: tuple[type[Exception], ...] = ()) -> Any:
    """What the Hub answers.

    Raises:
        UsageError: it does not.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        return ask()
    except passing:
        raise
    except LocalTokenNotFoundError as error:
        raise UsageError(f"nobody is logged in, so nothing can be uploaded to {name!r}. {_LOGIN}") from error
    except OfflineModeIsEnabled as error:
        raise UsageError(f"HF_HUB_OFFLINE is set, so nothing can be uploaded to {name!r}. Unset it, or leave --push-to-hub out.") from error  # fmt: skip
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise UsageError(f"the Hub refuses the token, so nothing can be uploaded to {name!r}. {_LOGIN}") from error  # fmt: skip
        raise UsageError(_unreachable(name, error)) from error
    except Exception as error:  # of the network
        raise UsageError(_unreachable(name, error)) from error


def _unreachable(name: str, error: Exception) -> str:
    return f"the Hub cannot be asked about {name!r} ({_said(error)}). Try again, or leave --push-to-hub out."


def _said(error: BaseException) -> str:
    """What an error says, in one line; where it was raised from another one, what that says too."""
    cause = error.__cause__
    text = first_line(error) + (f": {first_line(cause)}" if cause is not None and str(cause).strip() else "")
    return one_line(text).rstrip(".")
