"""tidemill backbone: frozen networks that models are trained on top of."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill.cli.failures import NoFile
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.core.errors import BadRequest
from tidemill.core.names import check_backbone
from tidemill.core.progress import Progress

WEIGHTS, VOCABULARY = "model.safetensors", "vocab.txt"  # core.backbones says the same, and brings boto3 along


@click.group()
def backbone() -> None:
    """Add and list frozen networks, which [train] backbone may name."""


@backbone.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@pass_session
def add(session: Session, name: str, files: tuple[Path, ...]) -> None:
    """Add the network NAME from FILES: its weights (.safetensors), for texts its vocabulary (.txt) too."""
    check_backbone(name)
    found = [(path, stored_as(path)) for path in files]
    if [stored for _, stored in found].count(WEIGHTS) != 1 or len({stored for _, stored in found}) != len(found):
        raise BadRequest(
            f"A backbone is one file of weights; these are {len(files)} files: {', '.join(map(str, files))}.",
            code="BAD_FILENAME",
            remedy="Give one .safetensors file, and at most one .txt file.",
        )
    api, sent = session.api(), []
    for path, stored in found:
        body = {"purpose": "backbone", "model": name, "filename": stored, "size_bytes": path.stat().st_size}
        form = api.post("/uploads", body)
        with session.screen.progress() as report:
            api.send_file(
                form, path, lambda done, whole: report(Progress("UPLOADING", done, whole, f"{done / 1e6:.1f} MB"))
            )
        sent.append({"name": stored, "key": form["key"], "size_bytes": body["size_bytes"]})
    session.screen.say(f'Added. Train with it: backbone = "{name}" under [train] in tidemill.toml.')
    session.screen.document({"name": name, "files": sent})


@backbone.command(name="list")
@json_option
@pass_session
def list_backbones(session: Session) -> None:
    """List the networks that are there."""
    found = session.api().get("/backbones")
    rows = [
        (item["name"], f"{item['size_bytes'] / 1e6:.1f} MB", ", ".join(file["name"] for file in item["files"]))
        for item in found["backbones"]
    ]
    if rows:
        session.screen.table(["name", "size", "files"], rows)
    else:
        session.screen.say("No backbones yet. Add one: tidemill backbone add NAME model.safetensors")
    session.screen.document(found)


def stored_as(path: Path) -> str:
    """What a file is called in the bucket; raises NoFile and BadRequest for what cannot be a part of a backbone."""
    if not path.is_file():
        raise NoFile(f"{path} is not a file.", remedy="Check the path.")
    names = {".safetensors": WEIGHTS, ".txt": VOCABULARY}
    if path.suffix.lower() not in names:
        raise BadRequest(
            f"{path.name} is neither weights nor a vocabulary.",
            code="BAD_FILENAME",
            remedy="Weights come as .safetensors (from torch: safetensors.torch.save_file), a vocabulary as .txt.",
        )
    return names[path.suffix.lower()]
