"""What a room keeps of files, how much of it, and what reaches the disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from unittest.mock import patch

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.file_notice import readable_size
from msrpconf.conference.files import (
    MAX_NAME,
    FileRefused,
    FileStore,
    RoomFiles,
    StoredFile,
    shown_name,
)
from msrpconf.conference.settings import RoomSettings
from msrpconf.protocols.sdp_file import FileHash, FileSelector

KEY = "sip:conf1@conf.example.com"
SETTINGS = RoomSettings(max_file_octets=1000, max_files=3, max_files_octets=2000)


def selector(name: str | None = None, size: int | None = None, data: bytes = b"") -> FileSelector:
    hashes = (FileHash("sha-1", hashlib.sha1(data).digest()),) if data else ()
    return FileSelector(name, None, size, hashes)


class FilesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.store = FileStore(self.path, 5000)
        self.files = self.store.room(KEY)

    def add(
        self,
        name: str,
        data: bytes = b"x",
        files: RoomFiles | None = None,
        wanted: FileSelector | None = None,
    ) -> StoredFile:
        files = files or self.files
        upload = files.begin(wanted or selector(name, len(data)), SETTINGS)
        upload.write(data)
        return upload.finish(SETTINGS, name="", type="text/plain", sender="sip:a@b", now=1.0)

    def on_disk(self) -> list[Path]:
        return sorted(each for each in Path(self.path).rglob("*") if each.is_file())

    def assertRefused(self, status: int, text: str, call: object, *args: object) -> None:
        error = self.assertRaises(FileRefused, call, *args)
        self.assertEqual(error.status, status)
        self.assertIn(text, error.reason)


class KeepingTests(FilesCase):
    def test_a_file_is_kept_under_a_name_of_ours(self) -> None:
        file = self.add("../../etc/passwd", b"root")
        self.assertEqual(file.name, "_.._etc_passwd")
        self.assertEqual(file.sha1, hashlib.sha1(b"root").hexdigest())
        self.assertEqual(file.sha256, hashlib.sha256(b"root").hexdigest())
        (path,) = self.on_disk()
        self.assertEqual(path.name, file.token)
        self.assertEqual(path.parent.parent, Path(self.path))
        self.assertEqual(path.read_bytes(), b"root")
        with self.files.open(file) as octets:
            self.assertEqual(octets.read(), b"root")
        self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)

    def test_the_oldest_go_first(self) -> None:
        files = [self.add(name) for name in "abcd"]
        self.assertEqual(self.files.files, files[1:])
        self.assertEqual(len(self.on_disk()), 3)
        self.assertEqual(self.store.octets, 3)

    def test_octets_of_all_files(self) -> None:
        self.add("a", b"x" * 900)
        self.add("b", b"x" * 900)
        last = self.add("c", b"x" * 900)
        self.assertEqual([each.name for each in self.files.files], ["b", "c"])
        self.assertEqual(self.files.octets, 1800)
        self.assertEqual(self.store.octets, 1800)
        self.files.clear()
        self.assertEqual((self.store.octets, self.on_disk()), (0, []))
        self.assertIsNone(self.files.find(last.selector))

    def test_what_is_dropped_can_be_read_to_its_end(self) -> None:
        file = self.add("a", b"abc")
        with self.files.open(file) as octets:
            self.files.clear()
            self.assertEqual(octets.read(), b"abc")

    def test_a_temporary_directory_goes(self) -> None:
        store = FileStore()
        self.addCleanup(store.close)
        store.open()
        self.add("a", files=store.room(KEY))
        directory = store.directory
        self.assertEqual(directory.stat().st_mode & 0o777, 0o700)
        store.close()
        self.assertFalse(directory.exists())

    def test_the_next_start_finds_the_files_of_lasting_rooms(self) -> None:
        lasting = self.store.room("sip:lasting@a", lasting=True)
        file = self.add("kept", b"abc", lasting)
        lasting.begin(selector("half"), SETTINGS).write(b"ha")
        self.add("of a room that ended")
        self.assertEqual(len(self.on_disk()), 4)

        store = FileStore(self.path, 5000)
        store.open()
        self.assertEqual(store.room("sip:other@a", lasting=True).files, [])
        again = store.room("sip:lasting@a", lasting=True)
        self.assertEqual(again.files, [file])
        self.assertEqual(store.octets, 3)
        self.assertEqual(
            sorted(each.name for each in self.on_disk()), sorted(["index.json", file.token])
        )

    def test_an_index_that_is_none(self) -> None:
        lasting = self.store.room("sip:lasting@a", lasting=True)
        self.add("kept", b"abc", lasting)
        for text in ("", "[1]", '[{"token": "x"}]', "{"):
            (lasting.directory / "index.json").write_text(text)
            self.assertEqual(self.store.room("sip:lasting@a", lasting=True).files, [])


class BoundTests(FilesCase):
    def test_one_file(self) -> None:
        self.assertRefused(413, "takes 1000", self.files.begin, selector("a", 1001), SETTINGS)
        upload = self.files.begin(selector("a"), SETTINGS)
        upload.write(b"x" * 1000)
        self.assertRefused(413, "larger than the 1000", upload.write, b"x")
        upload.drop()
        self.assertEqual((self.store.octets, self.on_disk()), (0, []))

    def test_more_than_was_promised(self) -> None:
        upload = self.files.begin(selector("a", 3), SETTINGS)
        self.assertRefused(413, "its size selector said", upload.write, b"abcd")
        upload.drop()

    def test_all_rooms_together(self) -> None:
        rooms = [self.store.room(f"sip:{n}@a") for n in range(6)]
        for files in rooms[:5]:
            self.add("a", b"x" * 900, files)
        self.assertRefused(503, "no space", rooms[5].begin, selector("a", 600), SETTINGS)
        upload = rooms[5].begin(selector("a"), SETTINGS)
        self.assertRefused(413, "no space", upload.write, b"x" * 600)
        rooms[0].clear()
        upload.write(b"x" * 600)
        upload.drop()
        self.assertEqual(self.store.octets, 3600)

    def test_a_full_disk(self) -> None:
        with patch("shutil.disk_usage") as usage:
            usage.return_value.free = 9
            self.assertRefused(503, "disk is full", self.files.begin, selector("a", 10), SETTINGS)
            self.files.begin(selector("a", 9), SETTINGS).drop()

    def test_a_disk_that_fails(self) -> None:
        upload = self.files.begin(selector("a"), SETTINGS)
        with patch.object(upload, "_file") as file:
            file.write.side_effect = OSError(28, "No space left on device")
            self.assertRefused(413, "disk does not take it", upload.write, b"abc")
        upload.drop()
        self.assertEqual(self.store.octets, 0)

    def test_no_directory(self) -> None:
        Path(self.path).write_text("a file")
        error = self.assertRaises(OSError, self.store.open)
        self.assertIn(self.path, str(error))
        self.assertRefused(503, "cannot keep files", self.files.begin, selector("a"), SETTINGS)


class VerifyingTests(FilesCase):
    def finish(self, wanted: FileSelector, data: bytes) -> None:
        upload = self.files.begin(wanted, SETTINGS)
        upload.write(data)
        try:
            upload.finish(SETTINGS, name="n", type="a/b", sender="sip:a@b", now=1.0)
        except FileRefused:
            upload.drop()
            self.assertEqual((self.files.files, self.on_disk(), self.store.octets), ([], [], 0))
            raise

    def test_size(self) -> None:
        self.assertRefused(400, "has 2 octets", self.finish, selector("a", 3), b"ab")

    def test_hashes(self) -> None:
        self.assertRefused(400, "sha-1", self.finish, selector("a", 2, b"xy"), b"ab")
        wrong = FileSelector(hashes=(FileHash("sha-256", bytes(32)),))
        self.assertRefused(400, "sha-256", self.finish, wrong, b"ab")
        unknown = FileSelector(hashes=(FileHash("md5", bytes(16)),))
        self.finish(unknown, b"ab")

    def test_what_the_selector_leaves_open(self) -> None:
        self.finish(FileSelector(), b"")
        (file,) = self.files.files
        self.assertEqual((file.name, file.type, file.size), ("n", "a/b", 0))
        unnamed = self.files.begin(FileSelector(type='Image/PNG;x="y z"'), SETTINGS)
        file = unnamed.finish(SETTINGS, name="..", type="a/b", sender="sip:a@b", now=1.0)
        self.assertEqual((file.name, file.type), ("file.png", 'Image/PNG; x="y z"'))
        self.assertEqual(file.media_type, "image/png")


class FindingTests(FilesCase):
    def test_by_each_selector_and_all(self) -> None:
        a = self.add("a.txt", b"aaa")
        b = self.add("b.txt", b"bbb")
        for wanted, file in (
            (FileSelector("a.txt"), a),
            (FileSelector("b.txt"), b),
            (FileSelector(hashes=a.hashes), a),
            (selector(data=b"bbb"), b),
            (a.selector, a),
            (FileSelector(size=3), b),  # the newest
            (FileSelector(type="TEXT/plain"), b),
            (FileSelector(size=4), None),
            (FileSelector("a.txt", hashes=b.hashes), None),
            (FileSelector("a.txt", hashes=(FileHash("md5", b"x"),)), None),
            (FileSelector("a.txt", hashes=(FileHash("md5", b"x"), *a.hashes)), a),
            (FileSelector(type="text/html"), None),
        ):
            self.assertEqual(self.files.find(wanted), file, wanted)

    def test_by_the_name_that_it_was_sent_under(self) -> None:
        file = self.add("a/b\u202e.txt")
        self.assertEqual(file.name, "a_b.txt")
        self.assertEqual(self.files.find(FileSelector("a/b\u202e.txt")), file)


class NameTests(SynchronousTestCase):
    def test_examples(self) -> None:
        for name, shown in (
            ("photo.jpg", "photo.jpg"),
            ("Gru\u0308\u00dfe.txt", "Grüße.txt"),
            ("../.bashrc", "_.bashrc"),
            ("C:\\x\x1b[2J", "C:_x[2J"),
            (" .. ", ""),
            ("\0\n", ""),
        ):
            self.assertEqual(shown_name(name), shown)

    @given(st.text())
    def test_it_is_bounded_and_stays(self, name: str) -> None:
        shown = shown_name(name)
        self.assertLessEqual(len(shown.encode()), MAX_NAME)
        self.assertTrue(shown.isprintable() or not set(shown) & set("/\\\0\r\n\x1b"))

    def test_sizes(self) -> None:
        for octets, text in (
            (0, "0 octets"),
            (1, "1 octet"),
            (999, "999 octets"),
            (1000, "1.0 kB"),
            (123456, "123 kB"),
            (999_600, "1.0 MB"),
            (5_000_000, "5.0 MB"),
            (10**17, "100000 TB"),
        ):
            self.assertEqual(readable_size(octets), text)

    def test_a_selector_of_an_unknown_hash_alone(self) -> None:
        file = StoredFile("t", "n", "a/b", 1, "00" * 20, "00" * 32, "sip:a@b", 1.0)
        self.assertTrue(file.is_selected_by(FileSelector()))
        self.assertEqual(evolve(file.selector, name=None).size, 1)
