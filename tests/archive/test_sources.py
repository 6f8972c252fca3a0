"""Each kind of source gives the same images the same answers, with ids of its own."""

from __future__ import annotations

import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gfnet_dynn.archive import names, places
from gfnet_dynn.errors import DataError, ImageError, OptionError
from tests.archive.archives import BROKEN, COUNT, Run, contents, folder, rows, shards, table
from tests.archive.archives import files as parts


def answers(output: Path) -> list[tuple[object, ...]]:
    """Without ids; sorted, as sources have orders of their own."""
    found = [(row["label"], row["confidence"], row["exit"], row["error"] is None) for row in rows(output)]
    return sorted(found, key=str)


def test_a_folder_is_answered_by_path_whatever_the_partitions(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    seen = []
    for size in (1, 2, 7, 1000):
        run(chips, output=tmp_path / str(size), partition_size=size)
        assert len(parts(tmp_path / str(size))) == -(-COUNT // size)
        seen.append([{**row, "promise": None} for row in rows(tmp_path / str(size))])
    assert all(each == seen[0] for each in seen)
    expected = sorted(f"{number % 2}/{number:04}.png" for number in range(COUNT))
    assert [row["id"] for row in seen[0]] == expected
    (bad,) = [row for row in seen[0] if row["error"]]
    assert bad["id"] == f"{BROKEN % 2}/{BROKEN:04}.png"
    assert (bad["label"], bad["confidence"], bad["exit"], bad["unknown"]) == (None,) * 4
    assert bad["policy"] == seen[0][0]["policy"]
    assert len(bad["model"]) == 12


def test_shards_and_tables_give_the_answers_of_the_folder(run: Run, tmp_path: Path) -> None:
    run(folder(tmp_path / "chips"), output=tmp_path / "a")
    run(shards(tmp_path / "shards"), output=tmp_path / "b")
    run(table(tmp_path / "table.parquet"), output=tmp_path / "c", partition_size=8)
    run(table(tmp_path / "plain.parquet", column="chip", nested=False), output=tmp_path / "d", id_column="name")
    expected = answers(tmp_path / "a")
    assert len({row[2] for row in expected}) > 2  # exits
    for other in "bcd":
        assert answers(tmp_path / other) == expected
    assert [row["id"] for row in rows(tmp_path / "b")][:2] == ["000.tar/0000.png", "000.tar/0003.png"]
    assert [row["id"] for row in rows(tmp_path / "c")] == [f"table.parquet:{number}" for number in range(COUNT)]
    assert [row["id"] for row in rows(tmp_path / "d")][:2] == ["chip 0000", "chip 0001"]
    assert [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "c").glob("part*"))] == [8, 8, 8, 1]


def test_a_list_may_name_paths_and_urls_and_what_is_missing_is_a_row(run: Run, tmp_path: Path) -> None:
    chips, memory = folder(tmp_path / "chips"), fsspec.filesystem("memory")
    memory.pipe("/archive/0.png", contents()[0])
    lines = [chips / "0" / "0000.png", "memory://archive/0.png", "memory://archive/none.png", tmp_path / "none.png"]
    (tmp_path / "list.txt").write_text("\n".join(map(str, lines)) + "\r\n\n")
    result = run(tmp_path / "list.txt")
    found = rows(tmp_path / "out")
    assert [row["id"] for row in found] == [str(line) for line in lines]
    assert found[0]["confidence"] == found[1]["confidence"] is not None
    assert "no file memory://archive/none.png" in found[2]["error"]
    assert "none.png" in found[3]["error"]
    assert (result.summary.rows, result.summary.errors) == (4, 2)


def test_images_are_fetched_over_http(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs it for http")
    chips = folder(tmp_path / "chips")
    handler = partial(QuietHandler, directory=str(chips))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = [*sorted(str(path.relative_to(chips)) for path in chips.rglob("*.png")), "0/none.png"]
        lines = [f"http://127.0.0.1:{server.server_port}/{name}" for name in names]
        (tmp_path / "urls.txt").write_text("\n".join(lines))
        run(tmp_path / "urls.txt", output=tmp_path / "a")
        server.shutdown()
    run(chips, output=tmp_path / "b")
    *found, missing = rows(tmp_path / "a")
    here = [(row["label"], row["confidence"], row["exit"]) for row in rows(tmp_path / "b")]
    assert [(row["label"], row["confidence"], row["exit"]) for row in found] == here
    assert "none.png" in missing["error"]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder, and logs nothing."""

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 # as the base class has it
        """Nothing."""


def test_standard_input_is_read_once_and_stored(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chips = folder(tmp_path / "chips")
    listed = "".join(f"{path}\n" for path in sorted(chips.rglob("*.png"))).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed)))
    assert run("-", partition_size=10).summary.partitions == 3


@pytest.mark.parametrize("kind", ["folder", "shards", "tables"])
def test_remote_archives_are_those_of_this_machine(run: Run, tmp_path: Path, kind: str) -> None:
    memory = fsspec.filesystem("memory")
    local = tmp_path / "local"
    if kind == "tables":
        table(local / "t.parquet")
    else:
        (folder if kind == "folder" else shards)(local)
    memory.put(f"{local}/", f"/{kind}/", recursive=True)
    memory.pipe(f"/{kind}/.hidden/x.png", b"")
    run(local, output=tmp_path / "a")
    run(f"memory://{kind}", output=tmp_path / "b")
    here, there = ([{**row, "error": bool(row["error"])} for row in rows(tmp_path / each)] for each in "ab")
    assert there == here
    (bad,) = [row for row in rows(tmp_path / "b") if row["error"]]
    assert bad["id"] in bad["error"]


def test_a_pattern_names_some_files_of_a_folder(run: Run, tmp_path: Path) -> None:
    run(f"{shards(tmp_path / 'shards')}/00[02].tar")
    assert {row["id"].partition("/")[0] for row in rows(tmp_path / "out")} == {"000.tar", "002.tar"}


def test_files_of_one_name_have_ids_of_their_own(run: Run, tmp_path: Path) -> None:
    run(shards(tmp_path / "a"), shards(tmp_path / "b"))
    assert len({row["id"] for row in rows(tmp_path / "out")}) == 2 * COUNT


def test_a_damaged_shard_keeps_what_comes_before_and_says_so(run: Run, tmp_path: Path) -> None:
    path = shards(tmp_path / "shards", files=1) / "000.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    run(path)
    *good, last = rows(tmp_path / "out")
    assert len(good) == 10
    assert last["id"] == "000.tar"
    assert "damaged" in last["error"]


def test_a_member_that_is_no_file_is_skipped(run: Run, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        member = tarfile.TarInfo("b.png")
        member.size = len(contents()[0])
        file.addfile(member, io.BytesIO(contents()[0]))
    run(tmp_path / "x.tar")
    assert [row["id"] for row in rows(tmp_path / "out")] == ["x.tar/b.png"]


def test_a_damaged_table_keeps_what_comes_before_and_says_so(run: Run, tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", rows_a_group=10)
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).dictionary_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    run(path)
    found = rows(tmp_path / "out")
    assert [row["id"] for row in found if row["error"]] == [f"t.parquet:{BROKEN}", "t.parquet:10"]
    assert len(found) == 10 + 1 + 5
    assert "Parquet" in found[10]["error"]


def test_what_vanishes_between_listing_and_work_is_a_row(run: Run, tmp_path: Path) -> None:
    chips, tars = folder(tmp_path / "chips"), shards(tmp_path / "shards")
    second = sorted(chips.rglob("*.png"))[20]
    run(chips, partition_size=10, output=tmp_path / "a", on_partition=lambda *_: second.unlink(missing_ok=True))
    assert sum(bool(row["error"]) for row in rows(tmp_path / "a")) == 2
    run(tars, output=tmp_path / "b", on_partition=lambda *_: (tars / "002.tar").unlink(missing_ok=True))
    (gone,) = [row for row in rows(tmp_path / "b") if row["id"] == "002.tar"]
    assert "no file" in gone["error"]


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (("none",), {}, "no file or folder"),
        (("none.txt",), {}, "no file"),
        (("none.parquet",), {}, "no file"),
        (("memory://nowhere-at-all/",), {}, "no file"),
        (("chips", "shards"), {}, "one source at a time"),
        (("chips",), {"id_column": "name"}, "--id-column is for tables"),
        (("t.parquet",), {"image_column": "label"}, "no column label of encoded images"),
        (("t.parquet",), {"id_column": "none"}, "no column none for --id-column"),
        (("labels.parquet",), {}, "no column of encoded images"),
        (("two.parquet",), {}, "--image-column"),
        (("text.parquet",), {}, "as Parquet"),
        (("empty",), {}, "has no images"),
        (("empty.txt",), {}, "has no"),
        (("nosuch://bucket/x/",), {}, "nosuch://"),
        (("dead.txt",), {}, "none of 2 images"),
    ],
)
def test_what_cannot_be_read_is_a_clear_stop_at_the_start(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: tuple[str, ...], options: dict[str, str],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "chips", 9), shards(tmp_path / "shards"), table(tmp_path / "t.parquet")
    pq.write_table(pa.table({"label": [1]}), tmp_path / "labels.parquet")
    pq.write_table(pa.table({"a": [b"1"], "b": [b"1"]}), tmp_path / "two.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "dead.txt").write_text("nowhere/1.png\nmemory://nowhere/2.png\n")
    with pytest.raises((DataError, OptionError), match=message):
        run(*sources, **options)
    assert not list((tmp_path / "out").glob("part*"))


def test_a_folder_of_several_kinds_asks_which(run: Run, tmp_path: Path) -> None:
    shards(tmp_path / "both"), table(tmp_path / "both" / "t.parquet")
    with pytest.raises(DataError, match=r"both holds (shards and tables|tables and shards), such as .*--kind"):
        run(tmp_path / "both")
    assert run(tmp_path / "both", kind="tables").summary.rows == COUNT


def test_sources_of_several_kinds_are_refused(run: Run, tmp_path: Path) -> None:
    shards(tmp_path / "shards"), table(tmp_path / "t.parquet")
    first = next((tmp_path / "shards").glob("*.tar"))
    for sources in ((first, tmp_path / "t.parquet"), (tmp_path / "t.parquet", first)):
        with pytest.raises(DataError, match=r"(\.tar and .*\.parquet|\.parquet and .*\.tar) are not of one kind"):
            run(*sources)


def test_tiffs_of_a_folder_are_told_to_be_images(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tiffs").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "tiffs" / "a.tif")
    lines = list[str]()
    run(tmp_path / "tiffs", log=lines.append)
    assert any("1 TIFF taken as one image each; --kind scenes" in line for line in lines)


def test_a_back_end_that_is_not_installed_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(DataError, match="pip install s3fs"):
        run("s3://bucket/chips/")


def test_a_network_that_is_gone_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str) -> bytes:
        raise DataError("unreachable")

    monkeypatch.setattr(names, "read_image_file", fail)
    listed = [(f"{number}", f"https://host/{number}.png") for number in range(40)]
    with pytest.raises(DataError, match="no image of 40 could be reached"):
        list(names._fetched(listed))


def test_reading_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.archive.places.time.sleep", lambda seconds: None)
    memory, calls = fsspec.filesystem("memory"), []
    memory.pipe("/again/1.png", b"content")
    opened = memory.open

    def flaky(path: str, mode: str) -> object:
        calls.append(path)
        if len(calls) < 3:
            raise ConnectionResetError("reset by peer")
        return opened(path, mode)

    monkeypatch.setattr(type(memory), "open", lambda self, path, mode="rb", **more: flaky(path, mode))
    assert places.read_image_file("memory://again/1.png") == b"content"
    assert len(calls) == 3


def test_an_image_of_absurd_size_is_refused_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_BYTES", 4)
    fsspec.filesystem("memory").pipe("/large/1.png", b"12345")
    with pytest.raises(ImageError, match="more than"):
        places.read_image_file("memory://large/1.png")
